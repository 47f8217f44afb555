//! What others on the host see of a publisher and its retransmitter: a file of counters, some words of which each thread writes.

mod clients;
mod settings;

pub(crate) use settings::{Kept, StatsSettings};

use crate::line::{LineCounters, LineSender};
use crate::retransmitter::{Retransmitter, RetransmitterCounters};
use clients::ClientRows;
use seqcast_protocol::{SequenceNumber, SessionId};
use seqcast_recovery::{Headroom, Line, Nanos, Rate, Refusal, Responder, RingReader};
use seqcast_stats::{Cells, CreateError, Description, LONGEST_PAUSE, Mirror, REFRESH, StatsFile, Table, Unit};
use seqcast_transport::Mapping;
use std::fs;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A duty cycle that takes longer is told of: five times what a full one takes, and as long as the first heartbeat behind data
/// has, which leaves late from there on.
const SLOW_CYCLE: Nanos = Nanos::from_millis(1);

/// How many of them are remembered. Arbitrary.
const SLOW_CYCLES: usize = 32;

/// Makes the file of a retransmitter and, given its lines, of its publisher.
pub(crate) fn keep(
    directory: &Path,
    facts: &[(String, String)],
    settings: &StatsSettings,
    lines: Option<&mut [LineSender]>,
    retransmitter: &mut Retransmitter,
) -> Result<Kept, CreateError> {
    let mut description = Description::new(if lines.is_some() { "publisher" } else { "retransmitter" });
    facts.iter().for_each(|(name, text)| description.fact(name, text));
    let begun_at = lines.is_some().then(|| retransmitter.responder.ring().next());
    let lines = lines.into_iter().flatten();
    let lines: Vec<_> = lines.map(|line| (LineStats::describe(&mut description, line.line), line)).collect();
    let serving = ServingStats::describe(&mut description, retransmitter, begun_at);
    let kept = settings.describe_own(&mut description);
    let file = StatsFile::create(directory, description)?;
    lines.into_iter().for_each(|(stats, line)| line.stats = Some(stats(&file)));
    retransmitter.stats = Some(Box::new(serving(&file)));
    Ok(kept(file))
}

/// What the publishing thread writes of a line.
#[derive(Debug)]
pub(crate) struct LineStats {
    /// Packets, bytes, system calls.
    sent: Cells<3>,
    /// Packets, runs.
    refused: Cells<2>,
}

impl LineStats {
    /// Adds them to a description; to be called with the file that is made of it.
    pub(crate) fn describe(description: &mut Description, line: Line) -> impl FnOnce(&StatsFile) -> Self + use<> {
        let labels = [("line", if line == Line::A { "a" } else { "b" })];
        let [packets, calls, runs] = ["packets", "calls", "runs"].map(Unit::count);
        let mut counter = |name, unit| description.counter(name, unit, &labels);
        let sent = [
            counter("line_packets", &packets),
            counter("line_bytes", &Unit::Bytes),
            counter("line_system_calls", &calls),
        ];
        let refused = [counter("line_refused", &packets), counter("line_segmentation_refused", &runs)];
        move |file| Self { sent: file.cells(sent), refused: file.cells(refused) }
    }

    /// Writes what changes with each send.
    #[inline]
    pub(crate) fn write_sent(&self, counters: &LineCounters) {
        self.sent.set([counters.packets, counters.bytes, counters.system_calls]);
    }

    /// Writes what hardly ever changes.
    pub(crate) fn write_refused(&self, counters: &LineCounters) {
        self.refused.set([counters.refused, counters.segmentation_refused]);
    }
}

/// A duty cycle that did something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle {
    pub(crate) at: Nanos,
    pub(crate) duration: Nanos,
    pub(crate) requests: usize,
    pub(crate) answers: usize,
}

/// What a retransmitter serves, and has done, at one moment.
#[derive(Clone, Copy, Debug)]
struct Service {
    next: u64,
    oldest: u64,
    ring_bytes: usize,
    retained: Headroom,
    counters: RetransmitterCounters,
    clients: usize,
    longest_cycle: Nanos,
}

/// What the thread writes that does the retransmitter's work: now and then, and when it has something to tell.
#[derive(Debug)]
pub(crate) struct ServingStats {
    mirror: Mirror<Service>,
    session: Table,
    /// As it was written.
    served: Option<SessionId>,
    clients: ClientRows,
    slow_cycles: Table,
    longest_cycle: Nanos,
    /// As far as it could be found out last.
    retained: Headroom,
    has_news: bool,
    written_at: Nanos,
    file: StatsFile,
}

impl ServingStats {
    /// Adds them to a description; to be called with the file that is made of it. A publisher's session went on at `begun_at`.
    fn describe(
        description: &mut Description,
        retransmitter: &Retransmitter,
        begun_at: Option<SequenceNumber>,
    ) -> impl FnOnce(&StatsFile) -> Self + use<> {
        let mut mirror = Mirror::new();
        describe_service(&mut mirror, description);
        if let Some(begun_at) = begun_at {
            let messages = Unit::count("messages");
            mirror.counter(description, "messages", &messages, &[], move |it| it.next.saturating_sub(begun_at));
        }
        if let Some(socket) = &retransmitter.socket {
            let (inode, buffer_bytes) = (inode(socket.as_raw_fd()), socket.buffer().granted_bytes as u64);
            mirror.gauge(description, "request_socket_inode", &Unit::count("inode"), &[], move |_| inode);
            mirror.gauge(description, "request_buffer_bytes", &Unit::Bytes, &[], move |_| buffer_bytes);
        }
        let session = description.table("session", 1, &[("session", Unit::Session)]);
        let clients = ClientRows::describe(description);
        let fields = [
            ("at", Unit::Time),
            ("duration", Unit::Nanoseconds),
            ("requests", Unit::count("requests")),
            ("answers", Unit::count("packets")),
        ];
        let slow_cycles = description.table("slow_cycles", SLOW_CYCLES, &fields);
        move |file| {
            mirror.attach(file);
            Self {
                mirror,
                session: file.table(session),
                served: None,
                clients: clients(file),
                slow_cycles: file.table(slow_cycles),
                longest_cycle: Nanos::ZERO,
                retained: Headroom::default(),
                has_news: false,
                written_at: Nanos::ZERO,
                file: file.clone(),
            }
        }
    }

    /// Notes who has asked.
    pub(crate) fn note_request(&mut self, now: Nanos, client: SocketAddrV4) {
        self.clients.note_request(now, client);
    }

    /// Notes a duty cycle that did something.
    pub(crate) fn note_cycle(&mut self, cycle: Cycle) {
        let Cycle { at, duration, requests, answers } = cycle;
        self.has_news = true;
        self.longest_cycle = self.longest_cycle.max(duration);
        if duration > SLOW_CYCLE {
            self.slow_cycles.push(&[at.0, duration.0, requests as u64, answers as u64]);
        }
    }

    /// When to write at the latest.
    pub(crate) fn due(&self) -> Nanos {
        self.written_at + if self.has_news { REFRESH } else { LONGEST_PAUSE }
    }

    /// Whether the latest writing is long enough ago for another one.
    pub(crate) fn may_write(&self, now: Nanos) -> bool {
        now >= self.written_at + REFRESH
    }

    pub(crate) fn write(
        &mut self,
        now: Nanos,
        counters: RetransmitterCounters,
        responder: &Responder<Mapping>,
        rate: &mut Rate,
    ) {
        let ring = responder.ring();
        let next = ring.next();
        if let Some(span) = ring.retained() {
            self.retained = rate.headroom(now, next, span);
        }
        self.mirror.store(&Service {
            next,
            oldest: ring.oldest(),
            ring_bytes: ring_bytes(ring),
            retained: self.retained,
            counters,
            clients: responder.clients().len(),
            longest_cycle: self.longest_cycle,
        });
        if self.served != Some(ring.session()) {
            self.served = Some(ring.session());
            self.session.set(0, &Unit::session_words(ring.session()));
        }
        if self.has_news {
            self.clients.write(|client| responder.client(client));
        }
        (self.has_news, self.written_at) = (false, now);
        self.file.note_written(now);
    }
}

/// The room of a ring, in bytes.
pub(crate) fn ring_bytes(ring: &RingReader<Mapping>) -> usize {
    ring.size().data_words * size_of::<u64>()
}

/// What the kernel calls a socket where it tells what waits there; 0 if that cannot be found out.
fn inode(socket: RawFd) -> u64 {
    fs::metadata(format!("/proc/self/fd/{socket}")).map_or(0, |metadata| metadata.ino())
}

fn describe_service(mirror: &mut Mirror<Service>, description: &mut Description) {
    let [messages, requests, packets] = ["messages", "requests", "packets"].map(Unit::count);
    mirror.gauge(description, "next", &Unit::Number, &[], |it| it.next);
    mirror.gauge(description, "oldest", &Unit::Number, &[], |it| it.oldest);
    mirror.gauge(description, "retained_messages", &messages, &[], |it| it.retained.messages);
    mirror.gauge(description, "retained_bytes", &Unit::Bytes, &[], |it| it.retained.bytes);
    mirror.gauge(description, "retained_time", &Unit::Nanoseconds, &[], |it| {
        it.retained.time.map_or(0, |time| Nanos::from(time).0)
    });
    mirror.gauge(description, "ring_bytes", &Unit::Bytes, &[], |it| it.ring_bytes as u64);
    mirror.counter(description, "requests", &requests, &[], |it| it.counters.responder.requests);
    mirror.counter(description, "retransmissions", &packets, &[], |it| it.counters.responder.retransmissions);
    mirror.counter(description, "retransmitted_messages", &messages, &[], |it| it.counters.responder.messages);
    mirror.counter(description, "retransmitted_bytes", &Unit::Bytes, &[], |it| it.counters.responder.bytes);
    mirror.counter(description, "requests_overwritten", &requests, &[], |it| it.counters.responder.overwritten);
    for refusal in Refusal::ALL {
        let labels = [("reason", refusal.name())];
        mirror.counter(description, "requests_refused", &requests, &labels, move |it| {
            it.counters.responder.refused[refusal as usize]
        });
    }
    mirror.counter(description, "heartbeats", &packets, &[], |it| it.counters.heartbeats);
    mirror.counter(description, "ends_of_session", &packets, &[], |it| it.counters.ends_of_session);
    mirror.counter(description, "sends_refused", &packets, &[], |it| it.counters.refused_sends);
    mirror.gauge(description, "clients", &Unit::count("clients"), &[], |it| it.clients as u64);
    mirror.gauge(description, "longest_cycle", &Unit::Nanoseconds, &[], |it| it.longest_cycle.0);
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use seqcast_stats::{Snapshot, read_directory};
    use std::path::PathBuf;

    /// A directory for the file of one test.
    pub(crate) struct Place(pub(crate) PathBuf);

    impl Place {
        pub(crate) fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("seqcast-publisher-{name}-{}", std::process::id()));
            Self(place)
        }

        pub(crate) fn file(&self, description: Description) -> StatsFile {
            StatsFile::create(&self.0, description).unwrap()
        }

        /// What is in the file.
        pub(crate) fn snapshot(&self) -> Snapshot {
            let mut snapshots = read_directory(&self.0).unwrap().snapshots;
            assert_eq!(snapshots.len(), 1);
            snapshots.remove(0)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Place;
    use super::*;
    use crate::Publisher;
    use std::time::Duration;

    #[test]
    fn what_a_cycle_took_is_told_when_the_next_writing_is_due() {
        let place = Place::new("cycles");
        let builder = Publisher::builder("CYCLES".parse().unwrap())
            .line(Line::A, "239.255.78.107:9@127.0.0.1".parse().unwrap())
            .heartbeat_ceiling(Duration::from_secs(20))
            .retain_bytes(1 << 20)
            .stats(&place.0);
        let (_publisher, mut retransmitter) = builder.open_split().unwrap();
        let opened_at = place.snapshot().written_at;
        let stats = retransmitter.stats.as_mut().unwrap();
        assert_eq!([REFRESH - Nanos(1), REFRESH].map(|pause| stats.may_write(opened_at + pause)), [false, true]);
        assert_eq!(stats.due(), opened_at + LONGEST_PAUSE);
        let cycle = |at, micros| Cycle { at: Nanos(at), duration: Nanos::from_micros(micros), requests: 7, answers: 5 };
        [cycle(1, 999), cycle(2, 3_000), cycle(3, 2_000)].into_iter().for_each(|cycle| stats.note_cycle(cycle));
        assert_eq!(stats.due(), opened_at + REFRESH);
        let written_at = opened_at + REFRESH;
        retransmitter.write_stats(written_at);
        let snapshot = place.snapshot();
        assert_eq!(snapshot.value("longest_cycle", &[]), Some(3_000_000));
        let table = snapshot.table("slow_cycles").unwrap();
        let value = |row, field| table.value(row, field).unwrap();
        let cycles = table.rows.iter().map(|row| ["at", "duration", "requests", "answers"].map(|it| value(row, it)));
        assert!(cycles.eq([[2, 3_000_000, 7, 5], [3, 2_000_000, 7, 5]]), "{table:?}");
        assert_eq!(retransmitter.stats.as_ref().unwrap().due(), written_at + LONGEST_PAUSE);
    }
}
