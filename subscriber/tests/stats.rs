//! The file of counters of a real subscriber, as others read it.

use seqcast_protocol::PacketKind;
use seqcast_publisher::Publisher;
use seqcast_recovery::{GapOrigin, Nanos};
use seqcast_stats::{LONGEST_PAUSE, REFRESH, Row, STALLED_AFTER, Snapshot, State, TableEntry, read_directory};
use seqcast_subscriber::{
    Event, GapPolicy, Idle, IdleStrategy, ImpairmentConfig, Line, LineSource, Source, Start, Subscriber,
    SubscriberBuilder, Unit,
};
use seqcast_transport::{Clock, wait_readable};
use std::fs;
use std::net::{SocketAddrV4, UdpSocket};
use std::path::PathBuf;

/// When a test gives up.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// The directory of one test, removed at its end, and addresses that nobody else uses.
struct Place {
    directory: PathBuf,
    lines: [String; 2],
    requests: SocketAddrV4,
}

impl Place {
    fn new(group: u8, name: &str) -> Self {
        let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = directory.join(format!("stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lines = [group, group + 1].map(|group| format!("239.255.77.{group}:{}@127.0.0.1", free()));
        Self { directory, lines, requests: SocketAddrV4::new([127, 0, 0, 1].into(), free()) }
    }

    fn publisher(&self, lines: usize) -> Publisher {
        let mut builder = Publisher::builder("STATS".parse().unwrap()).requests(self.requests).requests_inline(true);
        for (line, address) in Line::ALL.into_iter().zip(&self.lines).take(lines) {
            builder = builder.line(line, address.parse().unwrap());
        }
        builder.open().unwrap()
    }

    fn subscriber(&self, lines: usize) -> SubscriberBuilder {
        let mut builder = Subscriber::builder("STATS".parse().unwrap()).start(Start::At(1)).stats(&self.directory);
        for (line, address) in Line::ALL.into_iter().zip(&self.lines).take(lines) {
            builder = builder.line(line, address.parse().unwrap());
        }
        builder
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn read(subscriber: &Subscriber) -> Snapshot {
    Snapshot::read(subscriber.stats_path().unwrap()).unwrap()
}

/// Polls until the number is reached and everything that was done is written.
fn run_to(publisher: &mut Publisher, subscriber: &mut Subscriber, next: u64) {
    let mut worked_at = Clock::now();
    let end = worked_at + PATIENCE;
    loop {
        publisher.do_work();
        if subscriber.poll(|_| {}, 64) > 0 {
            worked_at = Clock::now();
        } else if subscriber.next() == Some(next) && read(subscriber).written_at > worked_at {
            return;
        }
        assert!(Clock::now() < end, "stuck: {:?}", subscriber.counters());
    }
}

/// Polls until the number is reached.
fn deliver_to(subscriber: &mut Subscriber, next: u64) {
    let end = Clock::now() + PATIENCE;
    while subscriber.next() != Some(next) {
        subscriber.poll(|_| {}, 64);
        assert!(Clock::now() < end, "stuck: {:?}", subscriber.counters());
    }
}

fn publish(publisher: &mut Publisher, messages: u64) {
    for number in 0..messages {
        publisher.publish(&[7; 100]).unwrap();
        if number % 50 == 49 {
            assert_eq!(publisher.flush().unwrap().refused, 0);
        }
    }
    assert_eq!(publisher.flush().unwrap().refused, 0);
}

fn value(table: &TableEntry, row: &Row, field: &str) -> u64 {
    table.value(row, field).unwrap()
}

#[test]
fn everything_that_is_counted_is_in_the_file_and_so_are_the_gaps() {
    let place = Place::new(1, "counted");
    let mut publisher = place.publisher(2);
    let impairment: ImpairmentConfig = "loss=5%,burst=2,duplicate=1%,seed=3".parse().unwrap();
    let builder = place.subscriber(2).recover_from(place.requests).impair(impairment).receive_times(true);
    let mut subscriber = builder.open().unwrap();
    for _ in 0..10 {
        publish(&mut publisher, 2_000);
        let next = publisher.next();
        run_to(&mut publisher, &mut subscriber, next);
    }
    let (snapshot, counters) = (read(&subscriber), subscriber.counters());
    let subscription = counters.subscription;
    assert_eq!((snapshot.role.as_str(), snapshot.state), ("subscriber", State::Live));
    let expected = [
        ("messages", subscription.messages),
        ("message_bytes", subscription.bytes),
        ("gaps", subscription.gaps),
        ("recovered", subscription.recovered),
        ("lost", 0),
        ("differing", 0),
        ("duplicates", subscription.duplicates),
        ("deferred", subscription.deferred),
        ("requests", subscription.requests),
        ("retries", subscription.retries),
        ("retransmissions", subscription.retransmissions),
        ("foreign", 0),
        ("kernel_drops", counters.kernel_drops),
        ("other_sources", 0),
        ("requests_refused", counters.requests_refused),
        ("socket_errors", 0),
        ("lost_ranges", 0),
        ("impaired_datagrams", counters.impairment.datagrams),
        ("impaired_dropped", counters.impairment.dropped),
        ("impaired_duplicated", counters.impairment.duplicated),
        ("impaired_reordered", 0),
        ("impaired_delayed", 0),
        ("impaired_early", 0),
        ("next", 20_001),
        ("highest", 20_001),
        ("lag_messages", 0),
        ("lag_time", 0),
        ("open_gaps", 0),
        ("caught_up", 1),
        ("heard", 1),
        ("ended", 0),
    ];
    for (name, value) in expected {
        assert_eq!(snapshot.value(name, &[]), Some(value), "{name}");
    }
    assert!(subscription.gaps > 0 && subscription.recovered > 0 && counters.impairment.dropped > 0, "{counters:?}");
    assert_eq!(snapshot.sum("malformed"), 0);
    assert!(snapshot.value("longest_cycle", &[]).unwrap() > 0);
    for (line, label) in [(Line::A, "a"), (Line::B, "b")] {
        let (labels, line) = ([("line", label)], subscription.lines[line.index()]);
        let expected = [
            ("line_packets", line.packets),
            ("line_bytes", line.bytes),
            ("line_first", line.first),
            ("line_missed", line.missed),
            ("line_late", line.late),
        ];
        for (name, value) in expected {
            assert_eq!(snapshot.value(name, &labels), Some(value), "{name} of {label}");
        }
        assert!(snapshot.value("receive_buffer_bytes", &labels).unwrap() > 0);
        let inode = snapshot.value("line_socket_inode", &labels).unwrap();
        let sockets = fs::read_to_string("/proc/self/net/udp").unwrap();
        assert!(sockets.split_whitespace().any(|word| word == inode.to_string()), "{inode} in {sockets}");
        let heard_at = Nanos(snapshot.value("line_heard_at", &labels).unwrap());
        assert!(Nanos::ZERO < heard_at && heard_at <= snapshot.written_at);
    }
    let leads: u64 =
        ["a", "b"].map(|line| snapshot.histogram("line_lead", &[("line", line)]).unwrap().count).iter().sum();
    assert_eq!(leads, subscriber.histograms().leads.iter().map(hdrhistogram::Histogram::len).sum::<u64>());
    let recovery = snapshot.histogram("recovery", &[]).unwrap();
    assert_eq!(recovery.count, subscriber.histograms().recovery.len());
    let delivery = snapshot.histogram("delivery", &[]).unwrap();
    assert!(delivery.count > 0 && delivery.quantile(0.5).unwrap() < 1_000_000_000, "{delivery:?}");

    let sessions = snapshot.table("session").unwrap();
    assert_eq!(sessions.session(&sessions.rows[0], "session").unwrap().to_string(), "STATS");
    let (gaps, records) = (snapshot.table("gaps").unwrap(), subscriber.subscription().records());
    assert_eq!(gaps.rows.len(), records.len());
    for (row, record) in gaps.rows.iter().zip(records) {
        assert_eq!(gaps.session(row, "session"), Some(record.session));
        assert_eq!([value(gaps, row, "first"), value(gaps, row, "end")], [record.range.start(), record.range.end()]);
        assert_eq!((record.origin, gaps.word(row, "origin")), (GapOrigin::Unknown, Some("unknown")));
        let opened_by = match record.opened_by {
            Source::Line(Line::A) => "line_a",
            Source::Line(Line::B) => "line_b",
            Source::RequestTarget(_) => "answer",
        };
        assert_eq!(gaps.word(row, "opened_by"), Some(opened_by));
        assert_eq!(value(gaps, row, "opened_by_heartbeat") == 0, record.opening_kind == PacketKind::Data);
        let asked_after = (value(gaps, row, "asked") == 1).then(|| Nanos(value(gaps, row, "asked_after")));
        assert_eq!(asked_after, record.asked_after);
        let counts = ["requests", "by_line_a", "by_line_b", "by_answers"].map(|field| value(gaps, row, field));
        let [a, b] = record.by_lines;
        assert_eq!(counts, [u64::from(record.requests), a, b, record.by_answers]);
        assert_eq!(gaps.word(row, "lost"), Some("no"));
        assert_eq!(Nanos(value(gaps, row, "elapsed")), record.elapsed);
    }
    assert!(snapshot.table("open_gaps").unwrap().rows.is_empty());
    assert!(snapshot.table("losses").unwrap().rows.is_empty());
}

#[test]
fn settings_and_addresses_are_said() {
    let place = Place::new(3, "facts");
    let builder = place.subscriber(1).recover_from(place.requests).gap_policy(GapPolicy::Skip);
    let subscriber = builder.stats_fact("command", "listen").open().unwrap();
    let snapshot = read(&subscriber);
    let facts: Vec<_> = snapshot.facts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let requests = place.requests.to_string();
    let expected = [
        ("line_a", place.lines[0].as_str()),
        ("recover_from", &requests),
        ("interface", "127.0.0.1"),
        ("gap_policy", "skip"),
        ("rewind_policy", "follow"),
        ("command", "listen"),
    ];
    assert_eq!(facts, expected);
    let [from, to] = ["request_socket", "request_target"].map(|name| snapshot.value(name, &[("target", "0")]).unwrap());
    assert_eq!(to, Unit::address_word(place.requests));
    let sockets = fs::read_to_string("/proc/self/net/udp").unwrap();
    let address = format!(" 0100007F:{:04X} 0100007F:{:04X} ", from & 0xFFFF, to & 0xFFFF);
    assert!(sockets.contains(&address), "{address} in {sockets}");
    assert_eq!((snapshot.value("heard", &[]), snapshot.value("next", &[])), (Some(0), Some(0)));
    assert_eq!(snapshot.value("impaired_dropped", &[]), None, "nothing is impaired");
    assert_eq!(snapshot.value("line_packets", &[("line", "b")]), None, "there is none");
}

#[test]
fn an_open_gap_a_loss_and_a_slow_cycle_are_told() {
    let place = Place::new(5, "loss");
    let mut publisher = place.publisher(1);
    // Nobody is asked, so that what is lost stays missing.
    let give_up = Nanos::from_secs(1);
    let builder =
        place.subscriber(1).gap_policy(GapPolicy::Wait { give_up }).stats_counter("seen", Unit::count("messages"));
    let mut subscriber = builder.impair("loss=30%,seed=1".parse().unwrap()).open().unwrap();
    let seen = subscriber.stats_cell("seen").unwrap();
    assert!(subscriber.stats_cell("messages").is_none(), "that is not the application's");
    for _ in 0..20 {
        publish(&mut publisher, 1);
    }
    let end = Clock::now() + PATIENCE;
    let (mut lost, mut told_open) = (Vec::new(), false);
    let slow = Nanos::from_millis(5);
    while subscriber.next() != Some(21) || !told_open || read(&subscriber).value("next", &[]) != Some(21) {
        publisher.do_work();
        subscriber.poll(
            |event| match event {
                Event::Lost(loss) => lost.push([loss.range.start(), loss.range.end()]),
                Event::Message(message) => {
                    seen.add(1);
                    let busy_until = Clock::now() + slow;
                    while message.number == 1 && Clock::now() < busy_until {}
                }
                _ => {}
            },
            1,
        );
        let snapshot = read(&subscriber);
        let open = snapshot.table("open_gaps").unwrap();
        if let Some(row) = open.rows.first() {
            let missing = subscriber.subscription().missing().next();
            // It may have been settled since it was written.
            if missing.is_some_and(|gap| gap.range.start() == value(open, row, "first")) && lost.is_empty() {
                told_open = true;
                assert!(snapshot.value("open_gaps", &[]).unwrap() > 0);
                assert_eq!(snapshot.value("caught_up", &[]), Some(0));
                let lag = snapshot.value("lag_time", &[]).unwrap();
                assert_eq!(lag, (snapshot.written_at.0).saturating_sub(value(open, row, "opened_at")));
            }
        }
        assert!(Clock::now() < end, "{:?}", subscriber.counters());
    }
    let snapshot = read(&subscriber);
    assert!(!lost.is_empty());
    assert_eq!(snapshot.value("lost_ranges", &[]), Some(lost.len() as u64));
    assert_eq!(snapshot.value("lost", &[]), Some(lost.iter().map(|[start, end]| end - start).sum()));
    let losses = snapshot.table("losses").unwrap();
    let rows: Vec<_> = losses.rows.iter().map(|row| [value(losses, row, "first"), value(losses, row, "end")]).collect();
    assert_eq!(rows, lost);
    assert!(losses.rows.iter().all(|row| losses.word(row, "cause") == Some("no_answer")));
    let gaps = snapshot.table("gaps").unwrap();
    assert!(gaps.rows.iter().all(|row| gaps.word(row, "lost") == Some("no_answer") && value(gaps, row, "asked") == 0));
    assert!(snapshot.table("open_gaps").unwrap().rows.is_empty());
    assert_eq!(snapshot.value("seen", &[]), Some(subscriber.counters().subscription.messages));
    let cycles = snapshot.table("slow_cycles").unwrap();
    let first =
        cycles.rows.iter().find(|row| value(cycles, row, "messages") == 1 && value(cycles, row, "duration") >= slow.0);
    let longest = snapshot.value("longest_cycle", &[]).unwrap();
    assert!(first.is_some_and(|row| value(cycles, row, "duration") <= longest), "{cycles:?} {longest}");
}

#[test]
fn a_subscriber_that_blocks_and_hears_nothing_is_seen_to_live() {
    let place = Place::new(7, "idle");
    let mut subscriber = place.subscriber(1).open().unwrap();
    let mut idle = Idle::new(IdleStrategy::Block);
    let (end, mut polls, mut written) = (Clock::now() + PATIENCE, 0, vec![read(&subscriber).written_at]);
    while written.len() < 4 {
        let work = subscriber.poll(|_| {}, 64);
        polls += 1;
        let timeout = subscriber.timeout().expect("it wants to be called");
        assert!(timeout <= LONGEST_PAUSE.as_duration());
        idle.idle_until_readable(work, subscriber.fds(), Some(timeout.into())).unwrap();
        written.push(read(&subscriber).written_at);
        written.dedup();
        assert!(Clock::now() < end, "{written:?}");
    }
    assert!(polls < 20, "{polls} polls, {written:?}");
}

#[test]
fn what_was_done_is_written_soon_by_a_subscriber_that_blocks() {
    let place = Place::new(9, "block");
    let mut publisher = place.publisher(1);
    let mut subscriber = place.subscriber(1).open().unwrap();
    publish(&mut publisher, 100);
    deliver_to(&mut subscriber, 101);
    // A machine that held it up had it write at once.
    let is_written = || read(&subscriber).value("messages", &[]) == Some(100);
    assert!(subscriber.timeout().unwrap() <= REFRESH.as_duration() || is_written());
    run_to(&mut publisher, &mut subscriber, 101);
    assert_eq!(read(&subscriber).value("messages", &[]), Some(100));
}

#[test]
fn a_ring_line_tells_its_headroom() {
    let place = Place::new(11, "ring");
    let ring = place.directory.join("ring");
    let builder = Publisher::builder("STATS".parse().unwrap()).ring(&ring).requests_inline(true);
    let mut publisher = builder.retain_bytes(1 << 20).open().unwrap();
    let builder = Subscriber::builder("STATS".parse().unwrap()).line(Line::A, LineSource::ring(&ring));
    let mut subscriber = builder.stats(&place.directory).open().unwrap();
    publish(&mut publisher, 1_000);
    run_to(&mut publisher, &mut subscriber, 1_001);
    let snapshot = read(&subscriber);
    let headroom = subscriber.headroom().unwrap();
    let told = ["headroom_messages", "headroom_bytes"].map(|name| snapshot.value(name, &[]).unwrap());
    assert_eq!(told, [headroom.messages, headroom.bytes]);
    assert_eq!(snapshot.value("line_socket_inode", &[("line", "a")]), None);
    assert_eq!(snapshot.value("messages", &[]), Some(1_000));
}

#[test]
fn each_subscriber_has_a_file_that_goes_with_it() {
    let place = Place::new(13, "two");
    let builder = place.subscriber(1);
    let (first, second) = (builder.clone().open().unwrap(), builder.open().unwrap());
    assert_ne!(first.stats_path(), second.stats_path());
    assert_eq!(read_directory(&place.directory).unwrap().snapshots.len(), 2);
    drop(first);
    let left = read_directory(&place.directory).unwrap().snapshots;
    assert_eq!(left.iter().map(|it| Some(it.path.as_path())).collect::<Vec<_>>(), [second.stats_path()]);
    drop(second);
    assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 0);
}

#[test]
fn a_subscriber_that_is_not_polled_is_stalled() {
    let place = Place::new(15, "stalled");
    let mut subscriber = place.subscriber(1).open().unwrap();
    subscriber.poll(|_| {}, 1);
    let end = Clock::now() + STALLED_AFTER + REFRESH;
    while Clock::now() < end {
        // An interrupted sleep goes on.
        wait_readable(&[], Some(end - Clock::now())).unwrap();
    }
    assert!(matches!(read(&subscriber).state, State::Stalled(quiet) if quiet > STALLED_AFTER));
    subscriber.poll(|_| {}, 1);
    assert_eq!(read(&subscriber).state, State::Live);
}

#[test]
fn a_directory_that_cannot_be_written_stops_nobody() {
    let place = Place::new(17, "refused");
    let file = place.directory.join("file");
    fs::write(&file, b"").unwrap();
    let builder = place.subscriber(1).stats(&file).stats_counter("seen", Unit::count("messages"));
    let mut subscriber = builder.open().unwrap();
    assert_eq!((subscriber.stats_path(), subscriber.stats_cell("seen").is_some()), (None, false));
    let mut publisher = place.publisher(1);
    publish(&mut publisher, 1);
    deliver_to(&mut subscriber, 2);
}
