//! Screens, from files that were written as publishers and subscribers write them.

use super::render;
use super::screen::{Screen, Style};
use super::view::{Key, Page, Readings, View};
use crate::keeper::{Keeper, litter};
use crate::stats::Reading;
use crate::stats::testing::Place;
use seqcast_protocol::SessionId;
use seqcast_recovery::Nanos;
use seqcast_stats::{Description, StatsFile, Unit};
use seqcast_transport::Clock;

const SECOND: Nanos = Nanos::from_secs(1);

struct Shown {
    _place: Place,
    view: View,
    previous: Option<Reading>,
    current: Reading,
}

impl Shown {
    fn new(place: Place, previous: Option<Reading>, at: Nanos) -> Self {
        let current = place.read_at(at);
        let view = View::new("/dev/shm/seqcast".into());
        Self { _place: place, view, previous, current }
    }

    fn readings(&self) -> Readings<'_> {
        Readings { current: &self.current, previous: self.previous.as_ref() }
    }

    fn screen(&self, size: (usize, usize)) -> Screen {
        render::screen(&self.view, self.readings(), size)
    }

    fn lines(&self, size: (usize, usize)) -> Vec<String> {
        self.screen(size).lines()
    }

    fn press(&mut self, key: Key) -> bool {
        let mut view = self.view.clone();
        let goes_on = view.handle(key, self.readings(), (80, 24));
        self.view = view;
        goes_on
    }
}

/// Two feeds: one with a publisher and three subscribers, of which one is well, one slow and one dead; one that nobody publishes here.
fn feeds(name: &str) -> Shown {
    let place = Place::new(name);
    let start = Clock::now() + SECOND;
    let mut publisher = Keeper::publisher(&place.0, "EQ20261121");
    let mut well = Keeper::subscriber(&place.0, "EQ20261121");
    let mut slow = Keeper::subscriber(&place.0, "EQ20261121");
    let dead = Keeper::subscriber(&place.0, "EQ20261121");
    let other = Keeper::subscriber(&place.0, "FX20261121");
    dead.write(&[("messages", 99), ("lost", 7)]);
    other.write(&[("heard", 0)]);
    publisher.write(&[("messages", 1_000)]);
    well.write(&[("heard", 1)]);
    slow.write(&[("heard", 1), ("lag_messages", 10)]);
    dead.killed("subscriber-z.stats");
    let previous = place.read_at(start);
    publisher.add_client();
    publisher.write(&[
        ("messages", 1_235_567),
        ("line_bytes a", 45_600_000),
        ("next", 1_235_568),
        ("retained_time", 12_300_000_000),
        ("clients", 3),
        ("requests", 40),
        ("requests_refused linger", 4),
    ]);
    let counted = [("messages", 1_234_567), ("next", 1_234_568), ("heard", 1), ("recovered", 32), ("gaps", 2)];
    well.write(&counted);
    well.write(&[
        ("line_first a", 700_000),
        ("line_first b", 300_000),
        ("line_missed a", 12),
        ("line_missed b", 1_300),
    ]);
    (0..100).for_each(|micros| well.histogram("recovery").record(micros * 4_000));
    well.histogram("delivery").record(23_000);
    well.close_gap(1_204, 1_220, start + Nanos::from_millis(250), false);
    slow.write(&[("messages", 500_000), ("next", 500_001), ("lag_messages", 700_000), ("lag_time", 640_000_000)]);
    slow.write(&[("line_socket_inode a", 1), ("open_gaps", 1), ("lost", 16)]);
    slow.close_gap(4_000, 4_016, start + Nanos::from_millis(500), true);
    slow.open_gap(500_001, 500_300, start + Nanos::from_millis(360));
    // They end only after they are read.
    let shown = Shown::new(place, Some(previous), start + SECOND);
    drop((publisher, well, slow, other));
    shown
}

#[test]
fn everything_about_a_feed_is_on_a_screen_of_80_by_24() {
    let expected = [
        " 2 feeds, 1 publisher, 4 subscribers, 1 slow, 1 dead               07:59:00 UTC",
        "PUBLISHER  STATE MSG/S   MB/S UNSENT RETAINED CLIENTS REQ/S REFUSED OVERWRITTEN",
        "SUBSCRIBER STATE MSG/S  NEXT   LAG  TIME OPEN RECOV  LOST   P50   P99  A% MISSED",
        "EQ20261121  A 239.1.1.1:30001@10.1.0.5  B 239.1.2.1:30001@10.2.0.5",
        ">P    1001  live 1.23M   45.6      0      12s       3    40       4           0",
        " S    1002  live 1.23M 1.23M     0     0    0    32     0 196µs 393µs  70   1312",
        " S    1003   lag  500k  500k  700k 640ms    1     0    16     -     -   -      0",
        " S    1004  dead     0     0     0     0    0     0     7     -     -   -      0",
        "FX20261121  A 239.1.1.1:30001@10.1.0.9  B 239.1.2.1:30001@10.2.0.9",
        " S    1005 quiet     0     0     0     0    0     0     0     -     -   -      0",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "GAPS, latest first",
        "07:58:59.500 EQ20261121 1003: gap 4,000..4,016 LOST: no answer after 3.14 ms, ke",
        "07:58:59.360 EQ20261121 1003: gap 500,001..500,300 open for 640 ms, 2 requests",
        "07:58:59.250 EQ20261121 1002: gap 1,204..1,220 filled after 3.14 ms, 4 by line b",
        "",
        "q quit  up/down/j/k select  enter details  s sort: name  p pause  ? help",
    ];
    assert_eq!(feeds("narrow").lines((80, 24)), expected);
}

#[test]
fn a_wider_screen_shows_more() {
    let lines = feeds("wide").lines((120, 40));
    let expected = [
        "PUBLISHER  STATE MSG/S   MB/S UNSENT RETAINED CLIENTS REQ/S REFUSED OVERWRITTEN            NEXT  CYCLE",
        "SUBSCRIBER STATE MSG/S            NEXT   LAG  TIME OPEN RECOV  LOST   P50   P99  A% MISS A MISS B DELIV QUEUE DROPS",
        "EQ20261121  A 239.1.1.1:30001@10.1.0.5  B 239.1.2.1:30001@10.2.0.5",
        ">P    1001  live 1.23M   45.6      0      12s       3    40       4           0       1,235,568      0",
        " S    1002  live 1.23M       1,234,568     0     0    0    32     0 196µs 393µs  70     12   1300  23µs     -     -",
    ];
    assert_eq!(lines[1..6], expected);
    let gaps = [
        "GAPS, latest first",
        "07:58:59.500 EQ20261121 1003: gap 4,000..4,016 LOST: no answer after 3.14 ms, kernel drop",
        "07:58:59.360 EQ20261121 1003: gap 500,001..500,300 open for 640 ms, 2 requests",
        "07:58:59.250 EQ20261121 1002: gap 1,204..1,220 filled after 3.14 ms, 4 by line b, 12 by answers, kernel drop",
    ];
    assert_eq!((lines.len(), &lines[30..34]), (40, &gaps.map(str::to_owned)[..]));
}

#[test]
fn what_is_slow_is_an_alarm_and_what_is_dead_is_dim() {
    let shown = feeds("styles");
    let screen = shown.screen((80, 24));
    let styles: Vec<_> = screen.rows().map(|row| row[20].1).collect();
    let selected = Style { is_reversed: true, ..Style::PLAIN };
    assert_eq!(styles[4..8], [selected, Style::PLAIN, Style::ALARM, Style::DIM]);
    assert_eq!((styles[0], styles[19], styles[20]), (Style::TITLE, Style::ALARM, Style::BOLD));
}

#[test]
fn rates_are_those_between_two_readings_and_none_after_the_first() {
    let mut shown = feeds("rates");
    shown.previous = None;
    let lines = shown.lines((80, 24));
    assert_eq!(lines[4], ">P    1001  live     -      -      0      12s       3     -       4           0");
    assert!(lines[6].contains(" live "), "nothing is known to grow yet: {}", lines[6]);
}

#[test]
fn keys_select_sort_and_open_what_is_selected() {
    let mut shown = feeds("keys");
    let marked = |shown: &Shown| {
        let lines = shown.lines((80, 24));
        lines.into_iter().find(|line| line.starts_with('>')).unwrap()[..16].to_owned()
    };
    assert_eq!(marked(&shown), ">P    1001  live");
    assert!(shown.press(Key::Down) && shown.press(Key::Character('j')));
    assert_eq!(marked(&shown), ">S    1003   lag");
    // It stays selected wherever it is sorted to: behind the publisher, because it is worst.
    for _ in 0..4 {
        shown.press(Key::Character('s'));
    }
    let lines = shown.lines((80, 24));
    assert!(lines[23].contains("s sort: state"), "{}", lines[23]);
    assert_eq!((&lines[5][..16], &lines[7][..16]), (">S    1003   lag", " S    1004  dead"));
    shown.press(Key::Enter);
    let lines = shown.lines((80, 24));
    assert_eq!(lines[0], " subscriber EQ20261121, process 1003, live, started 12 s ago       07:59:00 UTC");
    assert_eq!(lines[1..3], ["  line_a: 239.1.1.1:30001@10.1.0.9", "  line_b: 239.1.2.1:30001@10.2.0.9"]);
    assert!(
        lines.iter().any(|line| line.starts_with("  messages ") && line.ends_with(" 500,000 messages  +500,000/s"))
    );
    assert!(lines.iter().any(|line| line.contains("not seen: queue and drops of line a: /proc/")), "{lines:#?}");
    shown.press(Key::Escape);
    shown.press(Key::End);
    assert_eq!(marked(&shown), ">S    1005 quiet");
    shown.press(Key::Character('p'));
    assert!(shown.lines((80, 24))[0].ends_with(" PAUSED 07:59:00 UTC"));
    shown.press(Key::Character('?'));
    assert!(shown.lines((80, 24))[1].contains("Ctrl-C        quit"));
    assert!(shown.press(Key::Character('x')) && shown.view.page == Page::List);
    assert!(!shown.press(Key::Character('q')) && !shown.press(Key::Interrupt));
}

#[test]
fn details_scroll_no_further_than_to_their_end() {
    let mut shown = feeds("details");
    let size = (80, 10);
    shown.press(Key::Down);
    shown.press(Key::Enter);
    let mut press = |key| {
        let mut view = shown.view.clone();
        view.handle(key, shown.readings(), size);
        shown.view = view;
        shown.lines(size)
    };
    let end = press(Key::End);
    assert!(end[8].contains("gap 1,204..1,220 filled") && end[9].starts_with("q quit"), "{end:#?}");
    assert_eq!(press(Key::Down), end);
    assert_ne!(press(Key::Up), end);
}

#[test]
fn an_empty_directory_is_told_of() {
    let shown = Shown::new(Place::new("empty"), None, Clock::now());
    let lines = shown.lines((80, 24));
    assert_eq!(lines[0], " 0 feeds, 0 publishers, 0 subscribers                              07:59:00 UTC");
    assert_eq!(lines[4], " no process keeps counters in /dev/shm/seqcast");
    let mut shown = shown;
    for key in [Key::Down, Key::End, Key::Enter, Key::PageDown, Key::Home] {
        assert!(shown.press(key));
        shown.lines((80, 24));
    }
}

#[test]
fn many_feeds_scroll_so_that_the_selected_process_is_seen() {
    let place = Place::new("many");
    let keepers: Vec<_> = (0..20)
        .flat_map(|index| {
            let session = format!("FEED{index:06}");
            [Keeper::publisher(&place.0, &session), Keeper::subscriber(&place.0, &session)]
        })
        .collect();
    let mut shown = Shown::new(place, None, Clock::now());
    drop(keepers);
    for down in 0..40 {
        let lines = shown.lines((80, 24));
        let marked: Vec<_> = lines.iter().filter(|line| line.starts_with('>')).collect();
        assert_eq!(marked.len(), 1, "{down}: {lines:#?}");
        assert!(marked[0].contains(&format!("{}", 1_001 + down)), "{marked:?}");
        shown.press(Key::Down);
    }
    let lines = shown.lines((80, 24));
    assert_eq!(lines[18], "GAPS, latest first                                          rows 46 to 60 of 60");
    shown.press(Key::Home);
    assert!(shown.lines((80, 24))[18].ends_with("rows 1 to 15 of 60"));
}

#[test]
fn names_that_are_long_or_foreign_to_a_terminal_are_cut_and_made_harmless() {
    let place = Place::new("long");
    let mut description = Description::new(&"retransmitter_of_another_kind".repeat(4));
    description.fact("line_a", &"239.1.1.1:30001,é".repeat(40));
    description.counter(&"name_".repeat(60), &Unit::count("things"), &[("line", &"a".repeat(200))]);
    let session = description.table("session", 1, &[("session", Unit::Session)]);
    let file = StatsFile::create(&place.0, description).unwrap();
    file.table(session).push(&Unit::session_words(SessionId::from_bytes(*b"\x1b[2J\x07\xC3\xA9\x7F \x00")));
    let mut shown = Shown::new(place, None, Clock::now());
    drop(file);
    for page in [Page::List, Page::Process(0), Page::Help] {
        shown.view.page = page;
        for line in shown.lines((80, 24)) {
            assert!(line.chars().count() <= 80 && !line.contains(|letter: char| letter.is_control()), "{line:?}");
        }
    }
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut shown = feeds("sizes");
    for page in [Page::List, Page::Process(0), Page::Process(99_999), Page::Help] {
        shown.view.page = page;
        for width in [0, 1, 2, 40, 79, 300, 1_000] {
            for height in [0, 1, 2, 3, 4, 5, 6, 10, 500] {
                let screen = shown.screen((width, height));
                let expected = if width == 0 { 0 } else { height };
                assert_eq!(screen.rows().count(), expected);
            }
        }
    }
}

#[test]
fn files_that_are_skipped_are_told_of() {
    let place = Place::new("litter");
    let skipped = litter(&place.0);
    let shown = Shown::new(place, None, Clock::now());
    let words = format!("damaged.stats is skipped: it is damaged; so are {} others", skipped - 1);
    assert_eq!(shown.lines((80, 24))[19], words);
    assert_eq!(shown.current.skipped.len(), skipped);
}
