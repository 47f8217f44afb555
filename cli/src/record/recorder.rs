//! Between the thread that receives and the disk: blocks are gathered in chunks, which a thread of its own writes.
//!
//! All chunks are reserved at the beginning, and go round. When the disk has them all, what comes is counted and left
//! out; receiving never waits.

use super::files::{Files, FilesWritten};
use super::pcapng;
use crate::input::Datagram;
use seqcast_recovery::Nanos;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// How much is written at once, if there is so much. Arbitrary; room for the largest datagram three times.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
const _: () = assert!(CHUNK_BYTES > 3 * pcapng::packet_bytes(pcapng::MAX_PAYLOAD_BYTES));

/// Whole blocks, at most [`CHUNK_BYTES`].
#[derive(Debug)]
struct Chunk {
    blocks: Vec<u8>,
    packets: u64,
}

/// The memory for what waits for the disk, reserved and touched.
#[derive(Debug)]
pub(super) struct Reserve(Vec<Chunk>);

impl Reserve {
    /// Reserves so many bytes, two chunks at the least.
    pub(super) fn new(bytes: usize) -> Self {
        let chunk = || {
            let mut blocks = vec![1; CHUNK_BYTES];
            blocks.clear();
            Chunk { blocks, packets: 0 }
        };
        Self(std::iter::repeat_with(chunk).take((bytes / CHUNK_BYTES).max(2)).collect())
    }
}

/// Takes datagrams, and has them written.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Where the next datagram goes; `None` while the disk has all chunks.
    chunk: Option<Chunk>,
    free: Receiver<Chunk>,
    filled: Sender<Chunk>,
    /// How many chunks the disk has.
    waiting: Arc<AtomicUsize>,
    has_failed: Arc<AtomicBool>,
    thread: JoinHandle<(Files, WriterOutcome)>,
    taken: u64,
    bytes: u64,
    overrun: u64,
}

#[derive(Debug, Default)]
struct WriterOutcome {
    unwritten: u64,
    failure: Option<io::Error>,
}

/// What became of the datagrams.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) files: FilesWritten,
    /// How many were written.
    pub(super) datagrams: u64,
    /// The payload of those that were taken.
    pub(super) bytes: u64,
    /// How many were left out: the disk was too slow, or failed.
    pub(super) unwritten: u64,
    pub(super) failure: Option<io::Error>,
}

impl Recorder {
    /// Begins to write to `files`.
    pub(super) fn new(files: Files, reserve: Reserve) -> io::Result<Self> {
        let (filled, to_write) = channel();
        let (written, free) = channel();
        for chunk in reserve.0 {
            written.send(chunk).expect("the receiver is there");
        }
        let (waiting, has_failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (waiting, has_failed) = (Arc::clone(&waiting), Arc::clone(&has_failed));
            let write = move || write_all(files, &to_write, &written, &waiting, &has_failed);
            std::thread::Builder::new().name("record".to_owned()).spawn(write)?
        };
        Ok(Self { chunk: None, free, filled, waiting, has_failed, thread, taken: 0, bytes: 0, overrun: 0 })
    }

    /// Takes a datagram that came at `time` on the interface with this index.
    pub(super) fn take(&mut self, interface: u32, time: Nanos, datagram: &Datagram<'_>) {
        self.taken += 1;
        let room = pcapng::packet_bytes(datagram.payload.len());
        if self.chunk.as_ref().is_some_and(|chunk| chunk.blocks.len() + room > CHUNK_BYTES) {
            self.hand_over();
        }
        if self.chunk.is_none() {
            self.chunk = self.free.try_recv().ok();
        }
        match &mut self.chunk {
            Some(chunk) => {
                pcapng::packet(&mut chunk.blocks, interface, time, datagram);
                chunk.packets += 1;
                self.bytes += datagram.payload.len() as u64;
            }
            None => self.overrun += 1,
        }
    }

    /// Has what was taken written, unless the disk is still busy with what came before; returns whether nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        if self.chunk.is_none() {
            return true;
        }
        let is_idle = self.waiting.load(Ordering::Relaxed) == 0;
        if is_idle {
            self.hand_over();
        }
        is_idle
    }

    /// Whether the disk has failed, so that nothing more can be recorded.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// How many datagrams were taken.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them were left out because the disk was too slow.
    pub(super) const fn overrun(&self) -> u64 {
        self.overrun
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Recorded {
        self.hand_over();
        let Self { filled, thread, taken, bytes, overrun, .. } = self;
        drop(filled);
        let (files, WriterOutcome { unwritten, failure }) = thread.join().expect("the writer does not panic");
        let unwritten = overrun + unwritten;
        Recorded { files: files.written(), datagrams: taken - unwritten, bytes, unwritten, failure }
    }

    fn hand_over(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            self.filled.send(chunk).expect("the writer runs as long as there is somebody who sends");
        }
    }
}

/// The thread that writes: each chunk with one call, until nobody sends any more. After a failure it only counts.
fn write_all(
    mut files: Files,
    filled: &Receiver<Chunk>,
    written: &Sender<Chunk>,
    waiting: &AtomicUsize,
    has_failed: &AtomicBool,
) -> (Files, WriterOutcome) {
    let mut outcome = WriterOutcome::default();
    for mut chunk in filled {
        if outcome.failure.is_none()
            && let Err(error) = files.write(&chunk.blocks)
        {
            outcome.failure = Some(error);
            has_failed.store(true, Ordering::Relaxed);
        }
        if outcome.failure.is_some() {
            outcome.unwritten += chunk.packets;
        }
        chunk.blocks.clear();
        chunk.packets = 0;
        waiting.fetch_sub(1, Ordering::Relaxed);
        // At the end there is nobody who would fill it.
        let _ = written.send(chunk);
    }
    (files, outcome)
}

#[cfg(test)]
mod tests {
    use super::super::files::Rotation;
    use super::*;
    use std::fs;

    fn recorded(name: &str, reserve: Reserve, datagrams: u64) -> (Recorded, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("seqcast-{name}-{}", std::process::id()));
        let files = Files::create(&path, Rotation::default(), b"head".to_vec()).unwrap();
        let mut recorder = Recorder::new(files, reserve).unwrap();
        let (source, destination) = ("10.1.0.5:40000".parse().unwrap(), "239.1.1.1:30001".parse().unwrap());
        for _ in 0..datagrams {
            recorder.take(0, Nanos(1), &Datagram { source, destination, payload: &[7; 1_000] });
        }
        assert_eq!(recorder.taken(), datagrams);
        let recorded = recorder.finish();
        let written = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (recorded, written)
    }

    #[test]
    fn everything_is_written_in_the_end() {
        let (recorded, written) = recorded("written", Reserve::new(8 << 20), 1_000);
        assert_eq!((recorded.datagrams, recorded.bytes, recorded.unwritten), (1_000, 1_000_000, 0));
        assert_eq!(written.len(), 4 + 1_000 * pcapng::packet_bytes(1_000));
        assert_eq!(recorded.files.bytes, written.len() as u64);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_left_out() {
        let (recorded, written) = recorded("no-room", Reserve(Vec::new()), 3);
        assert_eq!((recorded.datagrams, recorded.bytes, recorded.unwritten), (0, 0, 3));
        assert_eq!(written, b"head");
    }
}
