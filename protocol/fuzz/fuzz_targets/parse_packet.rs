//! No bytes panic the reader of packets, and what it accepts is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seqcast_protocol::{Blocks, Header, Packet, PacketKind, PacketWriter};

fuzz_target!(|bytes: &[u8]| {
    let blocks = Blocks::new(bytes).map(|message| 2 + message.len()).sum::<usize>();
    assert!(blocks <= bytes.len());
    let Ok(packet) = Packet::parse(bytes) else { return };
    assert_eq!(packet.messages().count() as u64, packet.range().count());
    if packet.kind() == PacketKind::EndOfSession {
        assert_eq!(Header::end_of_session(packet.session(), packet.sequence()).to_bytes(), bytes);
        return;
    }
    let mut buffer = vec![0; bytes.len()];
    let mut writer = PacketWriter::new(&mut buffer, packet.session(), packet.sequence());
    for message in packet.messages() {
        writer.push(message).expect("the buffer is as long as the packet");
    }
    assert_eq!(writer.finish(), bytes);
});
