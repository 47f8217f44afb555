//! One look at all files of a directory, and at what the kernel says of the sockets of living processes.

use super::kernel::{self, Queue};
use crate::outcome::Outcome;
use seqcast_recovery::Nanos;
use seqcast_stats::{DEFAULT_DIRECTORY, Entry, Found, Kind, ReadError, Snapshot, State, Unit, read_directory};
use seqcast_transport::Clock;
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How the names of gauges end that hold the inode of a socket, 0 for none; what stands before it names the socket.
const INODE: &str = "_socket_inode";

/// Where the files are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Directory {
    /// The directory in which processes keep their counters
    #[arg(long = "stats", value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Reads all files.
    pub(crate) fn read(&self) -> Result<Reading, Outcome> {
        Reading::take(&self.path).map_err(|error| self.failed(&error))
    }

    /// The directory cannot be read.
    pub(crate) fn failed(&self, error: &io::Error) -> Outcome {
        Outcome::option_failed(&format!("--stats {}", self.path.display()), error)
    }
}

/// What all processes said at one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    /// That moment, on the monotonic clock.
    pub(crate) at: Nanos,
    /// The same, since 1970.
    pub(crate) unix: Nanos,
    /// By session, then role, then process.
    pub(crate) processes: Vec<Process>,
    /// Files that cannot be read, and why.
    pub(crate) skipped: Vec<(PathBuf, ReadError)>,
}

/// What one process said, and the kernel of it.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its file; behind each gauge of a socket's inode `.._kernel_queue_bytes` and `.._kernel_drops` were added.
    pub(crate) snapshot: Snapshot,
    /// What it publishes or hears, as far as it is known.
    pub(crate) session: Option<String>,
    /// What the kernel did not show, and why.
    pub(crate) unseen: Vec<String>,
}

impl Reading {
    /// Reads all files of a directory; there are none if it is not there.
    pub(crate) fn take(directory: &Path) -> io::Result<Self> {
        let Found { snapshots, others } = read_directory(directory)?;
        let unix = Nanos(Clock::unix_micros().saturating_mul(1_000));
        let mut processes: Vec<_> = snapshots.into_iter().map(Process::new).collect();
        processes.sort_by(|a, b| a.place().cmp(&b.place()));
        Ok(Self { at: Clock::now(), unix, processes, skipped: others })
    }

    /// A moment of the monotonic clock, since 1970.
    pub(crate) fn unix_of(&self, moment: Nanos) -> Nanos {
        Nanos(self.unix.0.saturating_add(moment.0).saturating_sub(self.at.0))
    }

    /// What the same process said at this reading.
    pub(crate) fn same(&self, process: &Process) -> Option<&Process> {
        let identity = |it: &Process| (it.snapshot.path.clone(), it.snapshot.made_at_unix_ns);
        self.processes.iter().find(|other| identity(other) == identity(process))
    }
}

impl Process {
    pub(super) fn new(mut snapshot: Snapshot) -> Self {
        let table = snapshot.table("session");
        let session = table.and_then(|table| table.session(table.rows.last()?, "session")).map(|it| it.to_string());
        let unseen = if snapshot.state == State::Dead { Vec::new() } else { add_queues(&mut snapshot) };
        Self { snapshot, session, unseen }
    }

    fn place(&self) -> (Option<&str>, &str, u32, &Path) {
        (self.session.as_deref(), &self.snapshot.role, self.snapshot.process, &self.snapshot.path)
    }

    /// What is known as its session: `-` before it is known.
    pub(crate) fn feed(&self) -> &str {
        self.session.as_deref().unwrap_or("-")
    }

    /// The state in a word: live, stalled, dead.
    pub(crate) const fn state(&self) -> &'static str {
        match self.snapshot.state {
            State::Live => "live",
            State::Stalled(_) => "stalled",
            State::Dead => "dead",
        }
    }
}

/// Adds what the kernel says of each socket behind the gauge that holds its inode; says what could not be seen.
fn add_queues(snapshot: &mut Snapshot) -> Vec<String> {
    let is_socket = |entry: &Entry| entry.name.ends_with(INODE) && entry.value > 0;
    if !snapshot.entries.iter().any(is_socket) {
        return Vec::new();
    }
    let queues = match kernel::queues(snapshot.process) {
        Ok(queues) => queues,
        Err(error) => {
            return vec![format!("queues and drops of the kernel: {}: {error}", kernel::path(snapshot.process))];
        }
    };
    let mut unseen = Vec::new();
    let mut entries = Vec::with_capacity(snapshot.entries.len());
    for entry in snapshot.entries.drain(..) {
        let queue = is_socket(&entry).then(|| queues.get(&entry.value));
        let name = entry.name.strip_suffix(INODE).unwrap_or_default().to_owned();
        let labels = entry.labels.clone();
        match queue {
            Some(Some(&Queue { bytes, drops })) => {
                let drops_name = format!("{name}_kernel_drops");
                entries.extend([
                    entry,
                    Entry {
                        kind: Kind::Gauge,
                        name: format!("{name}_kernel_queue_bytes"),
                        unit: Unit::Bytes,
                        labels: labels.clone(),
                        value: bytes,
                    },
                    Entry {
                        kind: Kind::Counter,
                        name: drops_name,
                        unit: Unit::count("datagrams"),
                        labels,
                        value: drops,
                    },
                ]);
            }
            Some(None) => {
                let words: Vec<_> = std::iter::once(name).chain(labels.into_iter().map(|(_, value)| value)).collect();
                let path = kernel::path(snapshot.process);
                unseen.push(format!("queue and drops of {}: {path} has no socket {}", words.join(" "), entry.value));
                entries.push(entry);
            }
            None => entries.push(entry),
        }
    }
    snapshot.entries = entries;
    unseen
}

/// Tells of files that are skipped, of each reason once.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: HashSet<(PathBuf, String)>,
}

impl Complaints {
    /// Says on standard error what was not said before.
    pub(crate) fn say(&mut self, reading: &Reading) {
        for (path, error) in &reading.skipped {
            let words = error.to_string();
            if self.said.insert((path.clone(), words.clone())) {
                // There is nobody to tell when standard error is gone.
                let _ = writeln!(io::stderr().lock(), "seqcast: warning: {} is skipped: {words}", path.display());
            }
        }
        // What is no longer there is told again when it comes back, and is not remembered for ever.
        self.said.retain(|(path, _)| reading.skipped.iter().any(|(skipped, _)| skipped == path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Keeper;
    use crate::stats::testing::Place;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    fn inode(socket: &UdpSocket) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn what_the_kernel_says_of_a_socket_stands_behind_it() {
        let place = Place::new("kernel");
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for _ in 0..1_000 {
            sockets[1].send_to(&[0; 1_400], sockets[0].local_addr().unwrap()).unwrap();
        }
        let keeper = Keeper::subscriber(&place.0, "EQ20261121");
        keeper.write(&[("line_socket_inode a", inode(&sockets[0])), ("line_socket_inode b", inode(&sockets[1]))]);
        let reading = Reading::take(&place.0).unwrap();
        let process = &reading.processes[0];
        assert_eq!(process.unseen, [""; 0]);
        let of = |name: &str, line: &str| process.snapshot.value(name, &[("line", line)]).unwrap();
        assert!(of("line_kernel_queue_bytes", "a") > 100_000);
        // The buffer is 208 KiB by default; datagrams take more than twice their length.
        let mut buffer = [0; 2_000];
        sockets[0].set_nonblocking(true).unwrap();
        let heard = std::iter::from_fn(|| sockets[0].recv(&mut buffer).ok()).count() as u64;
        assert_eq!(of("line_kernel_drops", "a"), 1_000 - heard);
        assert_eq!([of("line_kernel_queue_bytes", "b"), of("line_kernel_drops", "b")], [0, 0]);
    }

    #[test]
    fn a_socket_that_is_not_there_is_told_of_and_none_is_not() {
        let place = Place::new("nosocket");
        let keeper = Keeper::subscriber(&place.0, "EQ20261121");
        keeper.write(&[("line_socket_inode a", 1), ("line_socket_inode b", 0)]);
        let reading = Reading::take(&place.0).unwrap();
        let path = kernel::path(std::process::id());
        assert_eq!(reading.processes[0].unseen, [format!("queue and drops of line a: {path} has no socket 1")]);
        keeper.killed("subscriber-1-0.stats");
        let reading = Reading::take(&place.0).unwrap();
        assert_eq!((reading.processes[0].state(), reading.processes[0].unseen.len()), ("dead", 0));
    }

    #[test]
    fn the_same_process_is_found_again_and_another_one_in_its_place_is_not() {
        let place = Place::new("same");
        let keeper = Keeper::subscriber(&place.0, "EQ20261121");
        let first = Reading::take(&place.0).unwrap();
        let second = Reading::take(&place.0).unwrap();
        assert!(first.same(&second.processes[0]).is_some());
        drop(keeper);
        let _other = Keeper::subscriber(&place.0, "EQ20261121");
        let third = Reading::take(&place.0).unwrap();
        assert_eq!(first.processes[0].snapshot.path, third.processes[0].snapshot.path);
        assert!(first.same(&third.processes[0]).is_none());
    }
}
