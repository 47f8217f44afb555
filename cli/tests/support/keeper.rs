//! Processes that keep counters as publishers and subscribers do, without being any.

#![allow(dead_code, reason = "each test uses its part")]

use seqcast_protocol::SessionId;
use seqcast_recovery::Nanos;
use seqcast_stats::{Cell, Described, Description, Histogram, StatsFile, Table, Unit};
use seqcast_transport::Clock;
use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// A file of counters that a test fills by name.
pub(crate) struct Keeper {
    pub(crate) file: StatsFile,
    cells: HashMap<String, Described>,
    tables: HashMap<&'static str, Table>,
    session: [u64; 2],
}

/// A client of a publisher.
pub(crate) const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 9), 41_000);

fn words(session: &str) -> [u64; 2] {
    Unit::session_words(session.parse::<SessionId>().unwrap())
}

/// `name`, or `name a` with a label.
fn key(name: &str, labels: &[(&str, &str)]) -> String {
    labels.iter().fold(name.to_owned(), |key, (_, value)| format!("{key} {value}"))
}

struct Plan {
    description: Description,
    cells: HashMap<String, Described>,
}

impl Plan {
    fn new(role: &str) -> Self {
        Self { description: Description::new(role), cells: HashMap::new() }
    }

    fn counter(&mut self, name: &str, unit: &str, labels: &[(&str, &str)]) {
        let unit = if unit == "bytes" { Unit::Bytes } else { Unit::count(unit) };
        self.cells.insert(key(name, labels), self.description.counter(name, &unit, labels));
    }

    fn gauge(&mut self, name: &str, unit: &Unit, labels: &[(&str, &str)]) {
        self.cells.insert(key(name, labels), self.description.gauge(name, unit, labels));
    }

    fn keep(self, directory: &Path, session: &str, tables: &[(&'static str, Described)]) -> Keeper {
        let file = StatsFile::create(directory, self.description).unwrap();
        let tables = tables.iter().map(|(name, described)| (*name, file.table(*described))).collect();
        let mut keeper = Keeper { file, cells: self.cells, tables, session: words(session) };
        keeper.push("session", &words(session));
        keeper
    }
}

const LINES: [[(&str, &str); 1]; 2] = [[("line", "a")], [("line", "b")]];

impl Keeper {
    /// What a publisher of a session keeps.
    pub(crate) fn publisher(directory: &Path, session: &str) -> Self {
        let mut plan = Plan::new("publisher");
        plan.description.fact("line_a", "239.1.1.1:30001@10.1.0.5");
        plan.description.fact("line_b", "239.1.2.1:30001@10.2.0.5");
        plan.description.fact("requests", "10.1.0.5:30100");
        plan.counter("messages", "messages", &[]);
        for line in &LINES {
            plan.counter("line_packets", "packets", line);
            plan.counter("line_bytes", "bytes", line);
            plan.counter("line_refused", "packets", line);
        }
        plan.gauge("next", &Unit::Number, &[]);
        plan.gauge("retained_time", &Unit::Nanoseconds, &[]);
        plan.counter("requests", "requests", &[]);
        plan.counter("requests_overwritten", "requests", &[]);
        for reason in ["linger", "client_budget"] {
            plan.counter("requests_refused", "requests", &[("reason", reason)]);
        }
        plan.gauge("clients", &Unit::count("clients"), &[]);
        plan.gauge("request_socket_inode", &Unit::count("inode"), &[]);
        plan.gauge("longest_cycle", &Unit::Nanoseconds, &[]);
        let fields = [
            ("address", Unit::Address),
            ("last_heard", Unit::Time),
            ("requests", Unit::count("requests")),
            ("bytes", Unit::Bytes),
            ("refused_linger", Unit::count("requests")),
        ];
        let tables = [
            ("session", plan.description.table("session", 1, &[("session", Unit::Session)])),
            ("clients", plan.description.table("clients", 64, &fields)),
        ];
        plan.keep(directory, session, &tables)
    }

    /// What a subscriber to a session keeps.
    pub(crate) fn subscriber(directory: &Path, session: &str) -> Self {
        let mut plan = Plan::new("subscriber");
        plan.description.fact("line_a", "239.1.1.1:30001@10.1.0.9");
        plan.description.fact("line_b", "239.1.2.1:30001@10.2.0.9");
        plan.description.fact("recover_from", "10.1.0.5:30100");
        plan.counter("messages", "messages", &[]);
        for name in ["gaps", "recovered", "lost", "requests", "kernel_drops"] {
            plan.counter(name, if name == "gaps" { name } else { "messages" }, &[]);
        }
        for line in &LINES {
            plan.counter("line_packets", "packets", line);
            plan.counter("line_bytes", "bytes", line);
            plan.counter("line_first", "messages", line);
            plan.counter("line_missed", "messages", line);
            plan.gauge("line_heard_at", &Unit::Time, line);
            plan.gauge("line_socket_inode", &Unit::count("inode"), line);
            plan.gauge("receive_buffer_bytes", &Unit::Bytes, line);
        }
        plan.gauge("next", &Unit::Number, &[]);
        plan.gauge("highest", &Unit::Number, &[]);
        plan.gauge("lag_messages", &Unit::count("messages"), &[]);
        plan.gauge("lag_time", &Unit::Nanoseconds, &[]);
        plan.gauge("open_gaps", &Unit::count("gaps"), &[]);
        plan.gauge("heard", &Unit::Flag, &[]);
        plan.gauge("ended", &Unit::Flag, &[]);
        plan.gauge("request_target", &Unit::Address, &[("target", "0")]);
        plan.gauge("gap_policy", &Unit::one_of(&["wait", "skip", "stop"]), &[]);
        for name in ["recovery", "delivery"] {
            plan.cells.insert(name.to_owned(), plan.description.histogram(name, &Unit::Nanoseconds, &[]));
        }
        let gap = [("session", Unit::Session), ("first", Unit::Number), ("end", Unit::Number)];
        let life = [
            ("origin", Unit::one_of(&["unknown", "kernel_drop", "late_join", "deferred"])),
            ("opened_at", Unit::Time),
            ("by_line_a", Unit::count("messages")),
            ("by_line_b", Unit::count("messages")),
            ("by_answers", Unit::count("messages")),
            ("lost", Unit::one_of(&["no", "overwritten", "no_answer", "skipped", "ended"])),
            ("elapsed", Unit::Nanoseconds),
        ];
        let open = [("opened_at", Unit::Time), ("requests", Unit::count("requests"))];
        let tables = [
            ("session", plan.description.table("session", 1, &[("session", Unit::Session)])),
            ("gaps", plan.description.table("gaps", 128, &[&gap[..], &life].concat())),
            ("open_gaps", plan.description.table("open_gaps", 16, &[&gap[..], &open].concat())),
        ];
        plan.keep(directory, session, &tables)
    }

    fn cell(&self, name: &str) -> Cell {
        self.file.cell(self.cells[name])
    }

    /// Sets a counter or gauge: `messages`, `line_packets a`.
    pub(crate) fn set(&self, name: &str, value: u64) {
        self.cell(name).set(value);
    }

    /// Adds to one.
    pub(crate) fn add(&self, name: &str, value: u64) {
        self.cell(name).add(value);
    }

    /// Sets several, and that it was written now.
    pub(crate) fn write(&self, values: &[(&str, u64)]) {
        values.iter().for_each(|(name, value)| self.set(name, *value));
        self.file.note_written(Clock::now());
    }

    pub(crate) fn histogram(&self, name: &str) -> Histogram {
        self.file.histogram(self.cells[name])
    }

    /// Adds a row to a table.
    pub(crate) fn push(&mut self, table: &str, fields: &[u64]) {
        self.tables.get_mut(table).unwrap().push(fields);
    }

    /// Empties a row of a table.
    pub(crate) fn clear(&mut self, table: &str, row: usize) {
        self.tables.get_mut(table).unwrap().clear(row);
    }

    /// Adds a gap that was closed at `at`: 4 messages by line B, 12 by answers, or lost for want of an answer.
    pub(crate) fn close_gap(&mut self, first: u64, end: u64, at: Nanos, is_lost: bool) {
        let elapsed = Nanos::from_micros(3_140);
        let [s1, s2] = self.session;
        let filled = if is_lost { [0, 0, 0, 2] } else { [0, 4, 12, 0] };
        let row = [&[s1, s2, first, end, 1, (at - elapsed).0], &filled[..], &[elapsed.0]].concat();
        self.push("gaps", &row);
    }

    /// Adds a gap that has been open since `at`.
    pub(crate) fn open_gap(&mut self, first: u64, end: u64, at: Nanos) {
        let [s1, s2] = self.session;
        self.push("open_gaps", &[s1, s2, first, end, at.0, 2]);
    }

    /// Adds a client that asked just now.
    pub(crate) fn add_client(&mut self) {
        self.push("clients", &[Unit::address_word(CLIENT), Clock::now().0, 12, 3_400, 2]);
    }

    /// Leaves a file as a process does that is killed.
    pub(crate) fn killed(self, name: &str) {
        // Nobody holds the copy.
        fs::copy(self.file.path(), self.file.path().with_file_name(name)).unwrap();
    }
}

/// Puts everything into a directory that must be skipped; how much that is.
pub(crate) fn litter(directory: &Path) -> usize {
    let keeper = Keeper::subscriber(directory, "LITTER");
    let whole = fs::read(keeper.file.path()).unwrap();
    drop(keeper);
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    let truncated = &whole[..whole.len() - 8];
    for (name, bytes) in
        [("damaged", &damaged[..]), ("truncated", truncated), ("foreign", b"not a word of it"), ("empty", b"")]
    {
        fs::write(directory.join(format!("{name}.stats")), bytes).unwrap();
    }
    fs::File::create(directory.join("enormous.stats")).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("/dev/zero", directory.join("link.stats")).unwrap();
    std::os::unix::net::UnixListener::bind(directory.join("socket.stats")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(directory.join("fifo.stats")).status();
    assert!(fifo.unwrap().success());
    fs::create_dir(directory.join("directory.stats")).unwrap();
    fs::write(directory.join("readme.txt"), b"left out without a word").unwrap();
    9
}
