//! The life of a gap, remembered: what opened it, what was asked, what filled it.

use crate::{GapOrigin, LossCause, Nanos, Source};
use alloc::collections::VecDeque;
use seqcast_protocol::{PacketKind, SequenceRange, SessionId};

/// How many gaps are remembered. Arbitrary: a screenful or two for whoever asks what went wrong.
const RECORDS: usize = 128;

/// One gap that was raised, from its opening to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// The session.
    pub session: SessionId,
    /// The numbers that were missing.
    pub range: SequenceRange,
    /// Why they were missing.
    pub origin: GapOrigin,
    /// Where the packet came from that showed a number beyond them.
    pub opened_by: Source,
    /// What kind of packet that was.
    pub opening_kind: PacketKind,
    /// When, on the caller's clock.
    pub opened_at: Nanos,
    /// From then until the first request left; none if nothing was asked for.
    pub asked_after: Option<Nanos>,
    /// Requests that left for it, retries included.
    pub requests: u32,
    /// By `Line::index`: messages of it that a line brought.
    pub by_lines: [u64; 2],
    /// Messages of it that answers to requests brought.
    pub by_answers: u64,
    /// Why some or all of it was given up; none if it was recovered.
    pub lost: Option<LossCause>,
    /// From its opening until the last of its numbers arrived or was given up.
    pub elapsed: Nanos,
}

/// The latest gaps.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    records: VecDeque<GapRecord>,
    /// How many there were, with those that are forgotten.
    count: u64,
}

impl Records {
    pub(crate) fn new() -> Self {
        let filler = GapRecord {
            session: SessionId::UNKNOWN,
            range: SequenceRange::new(1, 1),
            origin: GapOrigin::Unknown,
            opened_by: Source::RequestTarget(usize::MAX),
            opening_kind: PacketKind::Data,
            opened_at: Nanos::MAX,
            asked_after: None,
            requests: 1,
            by_lines: [1; 2],
            by_answers: 1,
            lost: None,
            elapsed: Nanos::MAX,
        };
        let mut records = VecDeque::new();
        records.resize(RECORDS, filler);
        records.clear();
        Self { records, count: 0 }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn push(&mut self, record: GapRecord) {
        self.count += 1;
        if self.records.len() == RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &GapRecord> + ExactSizeIterator {
        self.records.iter()
    }
}
