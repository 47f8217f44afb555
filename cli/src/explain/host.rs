//! What is known of the processes of this host: their files of counters, read twice, and what the kernel says of them.

use crate::doctor::system::System;
use crate::outcome::Outcome;
use crate::stats::{Complaints, Directory};
use seqcast_protocol::SessionId;
use seqcast_recovery::{Line, Nanos};
use seqcast_stats::{Snapshot, State};
use seqcast_transport::wait_readable;
use std::net::SocketAddrV4;

/// From one reading to the other: what grows is told from what stands. 25 times as long as a file is left alone that changes.
const BETWEEN: Nanos = Nanos::from_millis(250);

/// Everything that is known of one moment, and of a moment before.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) processes: Vec<Process>,
    /// The largest receive buffer that the kernel grants to anybody.
    pub(super) rmem_max: Option<u64>,
}

impl Host {
    /// Reads the files of a directory twice, and what the kernel says; says on standard error what cannot be read.
    pub(super) fn read(directory: &Directory) -> Result<Self, Outcome> {
        let earlier = directory.read()?;
        // There is no descriptor to wait for, and an interrupted wait is only shorter.
        let _ = wait_readable(&[], Some(BETWEEN));
        let reading = directory.read()?;
        Complaints::default().say(&reading);
        let system = System::at("/");
        let process = |process: &crate::stats::Process| {
            let now = process.snapshot.clone();
            let before = earlier.same(process).map(|before| before.snapshot.clone());
            let thread = if now.state == State::Dead { Thread::default() } else { Thread::read(&system, now.process) };
            let life = Nanos(reading.unix_of(now.written_at).0.saturating_sub(now.made_at_unix_ns));
            Process { now, before, thread, life }
        };
        let processes = reading.processes.iter().map(process).collect();
        Ok(Self { processes, rmem_max: system.value("proc/sys/net/core/rmem_max") })
    }

    pub(super) fn subscribers(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.is_subscriber())
    }

    /// Those who publish, or answer for, a session.
    pub(super) fn servers(&self, session: SessionId) -> impl Iterator<Item = &Process> {
        let serves = move |process: &&Process| !process.is_subscriber() && process.session() == Some(session);
        self.processes.iter().filter(serves)
    }

    /// The publisher of a session: the one that runs if there are several.
    pub(super) fn publisher(&self, session: SessionId) -> Option<&Process> {
        let publishers = self.servers(session).filter(|process| process.now.role == "publisher");
        publishers.max_by_key(|process| (!process.is_dead(), process.now.made_at_unix_ns))
    }

    /// Whoever answers at an address: the one that runs if there are several.
    pub(super) fn responder(&self, address: SocketAddrV4) -> Option<&Process> {
        let responders = self.processes.iter().filter(|process| process.requests() == Some(address));
        responders.max_by_key(|process| (!process.is_dead(), process.now.made_at_unix_ns))
    }
}

/// A process, as its file and the kernel show it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) now: Snapshot,
    /// The same a moment before, if it was there.
    pub(super) before: Option<Snapshot>,
    pub(super) thread: Thread,
    /// From the making of its file until it was last written.
    pub(super) life: Nanos,
}

impl Process {
    pub(super) fn is_subscriber(&self) -> bool {
        self.now.role == "subscriber"
    }

    pub(super) fn is_dead(&self) -> bool {
        self.now.state == State::Dead
    }

    /// For how long it has not written, if it lives and should have.
    pub(super) fn stalled(&self) -> Option<Nanos> {
        match self.now.state {
            State::Stalled(time) => Some(time),
            State::Live | State::Dead => None,
        }
    }

    /// `subscriber 4712`
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.now.role, self.now.process)
    }

    /// The session, once there is one.
    pub(super) fn session(&self) -> Option<SessionId> {
        let table = self.now.table("session")?;
        table.session(table.rows.last()?, "session").filter(|session| *session != SessionId::UNKNOWN)
    }

    /// A counter or gauge without labels; 0 when there is none.
    pub(super) fn value(&self, name: &str) -> u64 {
        self.now.value(name, &[]).unwrap_or(0)
    }

    /// A counter or gauge of a line; 0 when there is none.
    pub(super) fn of_line(&self, name: &str, line: Line) -> u64 {
        self.now.value(name, &[("line", label(line))]).unwrap_or(0)
    }

    /// By how much a counter or gauge has grown between the readings.
    pub(super) fn growth(&self, name: &str) -> u64 {
        let before = self.before.as_ref().and_then(|before| before.value(name, &[]));
        self.value(name).saturating_sub(before.unwrap_or(u64::MAX))
    }

    /// How much of something there is in a second, as grown between the readings.
    pub(super) fn rate(&self, name: &str) -> f64 {
        let since = self.before.as_ref().map_or(Nanos::ZERO, |before| self.now.read_at - before.read_at);
        if since == Nanos::ZERO { 0.0 } else { self.growth(name) as f64 / since.as_duration().as_secs_f64() }
    }

    /// How long before the reading a moment was.
    pub(super) fn since(&self, at: Nanos) -> Nanos {
        self.now.read_at - at
    }

    /// What a line was set to, if it was.
    pub(super) fn line(&self, line: Line) -> Option<&str> {
        self.now.fact(if line == Line::A { "line_a" } else { "line_b" })
    }

    /// The lines that it has.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        Line::ALL.into_iter().filter(|&line| self.line(line).is_some())
    }

    /// When a line was heard last; none if it never was.
    pub(super) fn heard_at(&self, line: Line) -> Option<Nanos> {
        Some(Nanos(self.of_line("line_heard_at", line))).filter(|at| *at > Nanos::ZERO)
    }

    /// Messages that a line went past and never carried.
    pub(super) fn lost_on(&self, line: Line) -> u64 {
        self.of_line("line_missed", line).saturating_sub(self.of_line("line_late", line))
    }

    /// The mean length of the packets of a line, in bytes.
    pub(super) fn mean_bytes(&self, line: Line) -> u64 {
        let packets = self.of_line("line_packets", line);
        self.of_line("line_bytes", line).checked_div(packets).unwrap_or(0)
    }

    /// What the kernel says of a line's socket; none if it has none, or cannot be seen.
    pub(super) fn queue(&self, line: Line) -> Option<Queue> {
        let value = |name| self.now.value(name, &[("line", label(line))]);
        Some(Queue { bytes: value("line_kernel_queue_bytes")?, drops: value("line_kernel_drops")? })
    }

    /// How full the receive buffer of a line is, in percent; none if that cannot be seen.
    pub(super) fn fullness(&self, line: Line) -> Option<u64> {
        // The kernel gives the double of what is asked (socket(7)).
        let room = self.of_line("receive_buffer_bytes", line).saturating_mul(2);
        Some(percent(self.queue(line)?.bytes, room))
    }

    /// Datagrams that the kernel dropped here: by the sockets, or as far as gaps showed.
    pub(super) fn kernel_drops(&self) -> u64 {
        let sockets = total(self.lines().filter_map(|line| self.queue(line)).map(|queue| queue.drops));
        sockets.max(self.value("kernel_drops"))
    }

    /// Where it answers requests.
    pub(super) fn requests(&self) -> Option<SocketAddrV4> {
        if self.is_subscriber() { None } else { self.now.fact("requests")?.parse().ok() }
    }

    /// Whom it asks, and from where.
    pub(super) fn targets(&self) -> Vec<(SocketAddrV4, Option<SocketAddrV4>)> {
        let index = |number: usize| number.to_string();
        let target = |number| self.now.address("request_target", &[("target", &index(number))]);
        let own = |number| self.now.address("request_socket", &[("target", &index(number))]);
        (0..).map_while(|number| Some((target(number)?, own(number)))).collect()
    }
}

/// The sum, as large as it gets: what a file says need not be true.
pub(super) fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

pub(super) fn percent(part: u64, of: u64) -> u64 {
    let percent = (u128::from(part) * 100).checked_div(u128::from(of)).unwrap_or(0);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn label(line: Line) -> &'static str {
    if line == Line::A { "a" } else { "b" }
}

/// The receive queue of a socket, as the kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    /// What waits in it, with the kernel's own bookkeeping, against twice the receive buffer.
    pub(super) bytes: u64,
    /// Datagrams that did not fit.
    pub(super) drops: u64,
}

/// What the kernel says of the main thread of a process that lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Thread {
    /// What it does: `R` runs or would, `S` waits, `T` is stopped (proc_pid_stat(5)).
    pub(super) state: Option<char>,
    /// The function of the kernel that it waits in.
    pub(super) waits_in: Option<String>,
}

impl Thread {
    fn read(system: &System, process: u32) -> Self {
        let stat = system.text(&format!("proc/{process}/stat"));
        // The name before it may hold anything but ends with the last parenthesis.
        let state = stat.and_then(|stat| stat.rsplit_once(')')?.1.trim_start().chars().next());
        let waits_in = system.text(&format!("proc/{process}/wchan")).filter(|name| !name.is_empty() && name != "0");
        Self { state, waits_in }
    }
}
