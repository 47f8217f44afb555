//! Real data.
use seqcast::input::{Input, InputError};
#[test]
fn quick() -> Result<(), InputError> {
    for f in ["iex-tops16.pcap.gz", "moldudp64-nasdaq/Multiple.Packets.pcap"] {
        let mut input = Input::open(format!("{}/../../shared/data/{f}", env!("CARGO_MANIFEST_DIR")), None)?;
        let mut n = 0;
        while let Some(m) = input.next()? {
            n += 1;
            let _ = m;
        }
        eprintln!("{n} {:?} {:?}", input.capture(), input.warnings());
    }
    Ok(())
}
