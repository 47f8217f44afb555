//! No capture makes what reads captures panic or run away: input, dump and check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seqcast::check::Captures;
use seqcast::dump::Printer;
use seqcast::input::{Format, Frames, Input};
use std::io::{Cursor, sink};

fuzz_target!(|bytes: &[u8]| {
    let reader = || Cursor::new(bytes.to_vec());
    if let Ok(mut input) = Input::from_reader("fuzz", reader(), Some(Format::Pcap)) {
        while let Ok(Some(message)) = input.next() {
            assert!(message.payload.len() <= usize::from(u16::MAX));
        }
    }
    let frames = || Frames::from_reader("fuzz", reader());
    let Ok(mut shown) = frames() else { return };
    let mut printers = [false, true].map(|is_json| Printer::new(sink(), is_json, false));
    while let Ok(Some(frame)) = shown.next() {
        for printer in &mut printers {
            printer.frame(&frame).expect("the sink takes everything");
        }
    }
    for files in [vec![frames()], vec![frames(), frames()]] {
        let files = files.into_iter().map(|frames| frames.expect("it began well before")).collect();
        let mut captures = Captures::new(files, &[]);
        while let Ok(true) = captures.step() {}
        let report = captures.finish();
        let outcome = report.judge();
        assert!(!report.in_words().is_empty());
        assert!(report.json(outcome.code()).is_object());
    }
});
