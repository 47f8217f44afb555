//! Processes with counters as they write them, for tests.

use super::host::{Host, Process, Thread};
use seqcast_protocol::SessionId;
use seqcast_recovery::Nanos;
use seqcast_stats::{Described, Description, Snapshot, State, StatsFile, Unit};
use std::sync::atomic::{AtomicU32, Ordering};

/// When everything is read.
const NOW: Nanos = Nanos::from_secs(1_000);

/// So long before.
pub(super) fn before(time: Nanos) -> u64 {
    (NOW - time).0
}

pub(super) const SESSION: &str = "EQ20261121";
pub(super) const REQUESTS: &str = "127.0.0.1:30100";
/// Where the subscriber's requests leave from.
pub(super) const ASKER: &str = "127.0.0.1:45678";

/// A gap of a subscriber, settled.
#[derive(Clone, Copy)]
pub(super) struct Gap {
    pub(super) range: (u64, u64),
    pub(super) kernel_drops: u64,
    pub(super) is_deferred: bool,
    pub(super) asked: bool,
    pub(super) requests: u64,
    pub(super) by_line_b: u64,
    pub(super) by_answers: u64,
    /// 0 for recovered, else as the losses count from 1 on.
    pub(super) lost: u64,
}

/// Ten messages, asked for and recovered.
pub(super) const GAP: Gap = Gap {
    range: (101, 111),
    kernel_drops: 0,
    is_deferred: false,
    asked: true,
    requests: 1,
    by_line_b: 0,
    by_answers: 10,
    lost: 0,
};

/// Causes, as the losses count them.
pub(super) const OVERWRITTEN: u64 = 0;
pub(super) const NO_ANSWER: u64 = 1;
pub(super) const SKIPPED: u64 = 2;

type Field = (&'static str, Unit);
type Labels = Vec<(&'static str, &'static str)>;
type Value = (String, Labels, Unit, u64);
type Rows = (&'static str, Vec<Field>, Vec<Vec<u64>>);

/// What a process writes.
#[derive(Clone)]
pub(super) struct Fake {
    role: &'static str,
    id: u32,
    facts: Vec<(&'static str, String)>,
    values: Vec<Value>,
    tables: Vec<Rows>,
    thread: Thread,
    state: State,
    before: Option<Box<Fake>>,
    life: Nanos,
}

impl Fake {
    fn new(role: &'static str, id: u32) -> Self {
        let session: SessionId = SESSION.parse().unwrap();
        let fake = Self {
            role,
            id,
            facts: Vec::new(),
            values: Vec::new(),
            tables: Vec::new(),
            thread: Thread::default(),
            state: State::Live,
            before: None,
            life: Nanos::from_secs(100),
        };
        fake.row("session", &[("session", Unit::Session)], &Unit::session_words(session))
    }

    /// A subscriber of line A that has delivered 10,000 messages, ten to a packet of 1,400 bytes.
    pub(super) fn subscriber(id: u32) -> Self {
        let address = |text: &str| Unit::address_word(text.parse().unwrap());
        Self::new("subscriber", id)
            .fact("line_a", "239.1.1.1:30001@127.0.0.1")
            .set("messages", 10_000)
            .set("next", 10_001)
            .set("heard", 1)
            .line("line_packets", "a", 1_000)
            .line("line_bytes", "a", 1_400_000)
            .line("line_heard_at", "a", before(Nanos::from_millis(5)))
            .line("receive_buffer_bytes", "a", 212_992)
            .target("request_target", address(REQUESTS))
            .target("request_socket", address(ASKER))
    }

    /// The same with a line B.
    pub(super) fn with_line_b(self) -> Self {
        self.fact("line_b", "239.1.2.1:30001@127.0.0.1")
            .line("line_packets", "b", 1_000)
            .line("line_bytes", "b", 1_400_000)
            .line("line_heard_at", "b", before(Nanos::from_millis(5)))
            .line("receive_buffer_bytes", "b", 212_992)
    }

    /// A publisher that retains 2,000 messages of 100 bytes, of the last second.
    pub(super) fn publisher(id: u32) -> Self {
        Self::new("publisher", id)
            .fact("line_a", "239.1.1.1:30001@127.0.0.1")
            .fact("requests", REQUESTS)
            .line("line_packets", "a", 1_000)
            .set("next", 10_001)
            .set("oldest", 8_001)
            .set("retained_messages", 2_000)
            .set("retained_bytes", 200_000)
            .set("retained_time", 1_000_000_000)
    }

    pub(super) fn fact(mut self, name: &'static str, text: &str) -> Self {
        self.facts.retain(|(fact, _)| *fact != name);
        self.facts.push((name, text.to_owned()));
        self
    }

    pub(super) fn set(self, name: &str, value: u64) -> Self {
        self.labelled(name, Vec::new(), Unit::count("things"), value)
    }

    pub(super) fn line(self, name: &str, line: &'static str, value: u64) -> Self {
        self.labelled(name, vec![("line", line)], Unit::count("things"), value)
    }

    fn target(self, name: &str, value: u64) -> Self {
        self.labelled(name, vec![("target", "0")], Unit::Address, value)
    }

    /// Asks nobody.
    pub(super) fn without_targets(mut self) -> Self {
        self.values.retain(|(_, labels, ..)| labels.first().is_none_or(|(name, _)| *name != "target"));
        self
    }

    fn labelled(mut self, name: &str, labels: Labels, unit: Unit, value: u64) -> Self {
        self.values.retain(|(other, others, ..)| other != name || *others != labels);
        self.values.push((name.to_owned(), labels, unit, value));
        self
    }

    fn row(mut self, table: &'static str, fields: &[Field], row: &[u64]) -> Self {
        match self.tables.iter_mut().find(|(name, ..)| *name == table) {
            Some((_, _, rows)) => rows.push(row.to_vec()),
            None => self.tables.push((table, fields.to_vec(), vec![row.to_vec()])),
        }
        self
    }

    /// A gap that was opened 10 s ago and settled after 5 ms.
    pub(super) fn gap(self, gap: Gap) -> Self {
        let words = |words: &[&str]| Unit::one_of(words);
        let number = || Unit::Number;
        let things = || Unit::count("things");
        let fields = [
            ("session", Unit::Session),
            ("first", number()),
            ("end", number()),
            ("origin", words(&["unknown", "kernel_drop", "late_join", "deferred"])),
            ("kernel_drops", things()),
            ("opened_by", words(&["line_a", "line_b", "answer"])),
            ("opened_by_heartbeat", Unit::Flag),
            ("opened_at", Unit::Time),
            ("asked_after", Unit::Nanoseconds),
            ("asked", Unit::Flag),
            ("requests", things()),
            ("by_line_a", things()),
            ("by_line_b", things()),
            ("by_answers", things()),
            ("lost", words(&["no", "overwritten", "no_answer", "skipped", "ended"])),
            ("elapsed", Unit::Nanoseconds),
        ];
        let [first_half, second_half] = Unit::session_words(SESSION.parse().unwrap());
        let origin = if gap.is_deferred { 3 } else { u64::from(gap.kernel_drops > 0) };
        let row = [
            first_half,
            second_half,
            gap.range.0,
            gap.range.1,
            origin,
            gap.kernel_drops,
            0,
            0,
            before(Nanos::from_secs(10)),
            300_000,
            u64::from(gap.asked),
            gap.requests,
            0,
            gap.by_line_b,
            gap.by_answers,
            gap.lost,
            5_000_000,
        ];
        self.row("gaps", &fields, &row)
    }

    /// A range that was given up 9 s ago.
    pub(super) fn lost(self, first: u64, end: u64, cause: u64) -> Self {
        self.given_up(first, end, cause, Nanos::from_secs(9))
    }

    /// Nothing else was given up than ten messages so long ago.
    pub(super) fn lost_at(mut self, ago: Nanos, cause: u64) -> Self {
        self.tables.retain(|(name, ..)| *name != "losses");
        self.given_up(101, 111, cause, ago)
    }

    fn given_up(self, first: u64, end: u64, cause: u64, ago: Nanos) -> Self {
        let fields = [
            ("session", Unit::Session),
            ("first", Unit::Number),
            ("end", Unit::Number),
            ("cause", Unit::one_of(&["overwritten", "no_answer", "skipped", "ended"])),
            ("at", Unit::Time),
        ];
        let [first_half, second_half] = Unit::session_words(SESSION.parse().unwrap());
        let row = [first_half, second_half, first, end, cause, before(ago)];
        self.row("losses", &fields, &row).set("lost", end - first)
    }

    /// A gap that has been open for so long.
    pub(super) fn open_gap(self, first: u64, end: u64, time: Nanos) -> Self {
        let fields = [
            ("session", Unit::Session),
            ("first", Unit::Number),
            ("end", Unit::Number),
            ("opened_at", Unit::Time),
            ("requests", Unit::count("requests")),
        ];
        let [first_half, second_half] = Unit::session_words(SESSION.parse().unwrap());
        self.row("open_gaps", &fields, &[first_half, second_half, first, end, before(time), 7])
    }

    /// A duty cycle that began so long ago.
    pub(super) fn slow_cycle(self, ago: Nanos, duration: Nanos) -> Self {
        let fields = [("at", Unit::Time), ("duration", Unit::Nanoseconds)];
        self.row("slow_cycles", &fields, &[before(ago), duration.0]).set("longest_cycle", duration.0)
    }

    /// The client [`ASKER`] as its responder knows it: 20 requests, 5 answers, and what was refused.
    pub(super) fn client(self, reason: &str, refused: u64) -> Self {
        const REASONS: [(&str, &str); 6] = [
            ("network", "refused_network"),
            ("linger", "refused_linger"),
            ("queue", "refused_queue"),
            ("clients", "refused_clients"),
            ("budget", "refused_budget"),
            ("client_budget", "refused_client_budget"),
        ];
        let things = || Unit::count("things");
        let mut fields = vec![
            ("address", Unit::Address),
            ("last_heard", Unit::Time),
            ("requests", things()),
            ("retransmissions", things()),
            ("overwritten", things()),
        ];
        fields.extend(REASONS.map(|(_, field)| (field, things())));
        let mut row = vec![Unit::address_word(ASKER.parse().unwrap()), NOW.0, 20, 5, 0];
        row.extend(REASONS.map(|(name, _)| if name == reason { refused } else { 0 }));
        self.row("clients", &fields, &row).set("clients", 1).set("requests", 20)
    }

    /// What waits in the kernel for a line, and what was dropped there.
    pub(super) fn queue(self, line: &'static str, bytes: u64, drops: u64) -> Self {
        self.line("line_kernel_queue_bytes", line, bytes).line("line_kernel_drops", line, drops)
    }

    pub(super) fn killed(mut self) -> Self {
        self.state = State::Dead;
        self
    }

    /// Has not written for 20 s; what its main thread does meanwhile.
    pub(super) fn stalled(mut self, state: char, waits_in: &str) -> Self {
        self.state = State::Stalled(Nanos::from_secs(20));
        self.thread.state = Some(state);
        self.thread.waits_in = Some(waits_in.to_owned());
        self
    }

    /// As it was a quarter of a second before.
    pub(super) fn after(mut self, before: Self) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    /// All that it says is as large as it gets.
    pub(super) fn with_everything(mut self, number: u64) -> Self {
        let names = ["gaps", "recovered", "longest_cycle", "output_time", "output_slowest", "kernel_drops"];
        for name in names {
            self = self.set(name, number);
        }
        for name in ["line_missed", "line_late", "line_refused", "line_kernel_drops", "line_kernel_queue_bytes"] {
            self = self.line(name, "a", number);
        }
        self.values.iter_mut().for_each(|(.., value)| *value = number);
        self.tables.iter_mut().flat_map(|(.., rows)| rows).flatten().for_each(|field| *field = number);
        self
    }

    /// Its file as it is read.
    fn snapshot(&self) -> Snapshot {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = format!("seqcast-explain-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(directory);
        let mut description = Description::new(self.role);
        self.facts.iter().for_each(|(name, text)| description.fact(name, text));
        let values: Vec<(Described, u64)> = self
            .values
            .iter()
            .map(|(name, labels, unit, value)| (description.gauge(name, unit, labels), *value))
            .collect();
        let tables = self.tables.iter().map(|(name, fields, rows)| (description.table(name, rows.len(), fields), rows));
        let tables: Vec<_> = tables.collect();
        let file = StatsFile::create(&directory, description).unwrap();
        values.iter().for_each(|(described, value)| file.cell(*described).set(*value));
        for (described, rows) in tables {
            let mut table = file.table(described);
            rows.iter().for_each(|row| table.push(row));
        }
        let mut snapshot = Snapshot::read(file.path()).unwrap();
        drop(file);
        std::fs::remove_dir(directory).unwrap();
        let quiet = if self.state == State::Live { Nanos::ZERO } else { Nanos::from_secs(20) };
        (snapshot.process, snapshot.state) = (self.id, self.state);
        (snapshot.read_at, snapshot.written_at) = (NOW, NOW - quiet);
        snapshot
    }

    fn process(self) -> Process {
        let now = self.snapshot();
        let before = self.before.as_ref().map(|before| {
            let mut before = before.snapshot();
            before.read_at = NOW - Nanos::from_millis(250);
            before
        });
        Process { now, before, thread: self.thread, life: self.life }
    }
}

/// A host with these processes, which grants receive buffers of 208 KiB.
pub(super) fn host(processes: impl IntoIterator<Item = Fake>) -> Host {
    Host { processes: processes.into_iter().map(Fake::process).collect(), rmem_max: Some(212_992) }
}
