//! Screens, from files that were written as publishers and subscribers write them.

use super::render;
use super::screen::{Screen, Style};
use super::view::{Key, Page, Readings, View};
use crate::keeper::{Keeper, litter};
use crate::stats::Reading;
use crate::stats::testing::Place;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;

const SECOND: Nanos = Nanos::from_secs(1);

struct Shown {
    place: Place,
    view: View,
    previous: Option<Reading>,
    current: Reading,
}

impl Shown {
    fn new(place: Place, previous: Option<Reading>, at: Nanos) -> Self {
        let current = place.read_at(at);
        let view = View::new("/dev/shm/seqcast".into());
        Self { place, view, previous, current }
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
    dead.killed("subscriber-9-9.stats");
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
    let shown = feeds("narrow");
    for l in shown.lines((80, 24)) {
        println!("{l:?},");
    }
    for l in shown.lines((130, 30)) {
        println!("{l:?},");
    }
}
