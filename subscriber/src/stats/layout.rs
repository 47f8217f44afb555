//! What is in the file of a subscriber: the names that others read.

use super::settings::Own;
use super::tables::{self, DescribedTables};
use super::view::{LineView, View};
use crate::{Subscriber, SubscriberCounters};
use seqcast_protocol::PacketError;
use seqcast_recovery::{Counters, Headroom, ImpairmentCounters, Line, LineCounters};
use seqcast_stats::{Described, Description, Mirror, Unit};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;

/// The label of a line.
const LABELS: [&str; 2] = ["a", "b"];

/// A file that is being described, and how its values are found.
pub(super) struct Layout {
    pub(super) description: Description,
    pub(super) mirror: Mirror<View>,
    pub(super) tables: DescribedTables,
    pub(super) recovery: Described,
    pub(super) leads: [Option<Described>; 2],
    pub(super) delivery: Option<Described>,
    pub(super) longest_cycle: Described,
    pub(super) lost_ranges: Described,
}

impl Layout {
    /// Everything but facts and what the application adds.
    pub(super) fn new(subscriber: &Subscriber) -> Self {
        let mut description = Description::new("subscriber");
        let tables = tables::describe(&mut description);
        let mut layout = Self {
            tables,
            mirror: Mirror::new(),
            longest_cycle: description.gauge("longest_cycle", &Unit::Nanoseconds, &[]),
            lost_ranges: description.counter("lost_ranges", &Unit::count("ranges"), &[]),
            recovery: description.histogram("recovery", &Unit::Nanoseconds, &[]),
            leads: [None; 2],
            delivery: subscriber.receive_times.then(|| description.histogram("delivery", &Unit::Nanoseconds, &[])),
            description,
        };
        layout.add_counters(subscriber.has_impairment());
        layout.add_gauges();
        for line in &subscriber.lines {
            let socket = &line.path.socket;
            let buffer_bytes = socket.buffer().map(|buffer| buffer.granted_bytes as u64);
            layout.add_line(line.line, line.path.fd().and_then(inode), buffer_bytes);
        }
        if subscriber.lines.iter().any(|line| line.path.socket.is_ring()) {
            layout.add_headroom();
        }
        let addresses = subscriber.targets.iter().filter_map(|target| target.socket.addresses());
        for (target, (from, to)) in addresses.enumerate() {
            let label = target.to_string();
            for (name, address) in [("request_socket", from), ("request_target", to)] {
                let word = Unit::address_word(address);
                layout.gauge(name, &Unit::Address, &[("target", &label)], move |_| word);
            }
        }
        layout
    }

    pub(super) fn add_own(&mut self, own: &Own) -> Described {
        let Own { name, unit, is_counter } = own;
        if *is_counter { self.description.counter(name, unit, &[]) } else { self.description.gauge(name, unit, &[]) }
    }

    fn counter(
        &mut self,
        name: &str,
        unit: &Unit,
        labels: &[(&str, &str)],
        read: impl Fn(&View) -> u64 + Send + 'static,
    ) {
        self.mirror.counter(&mut self.description, name, unit, labels, read);
    }

    fn gauge(
        &mut self,
        name: &str,
        unit: &Unit,
        labels: &[(&str, &str)],
        read: impl Fn(&View) -> u64 + Send + 'static,
    ) {
        self.mirror.gauge(&mut self.description, name, unit, labels, read);
    }

    fn add_counters(&mut self, has_impairment: bool) {
        type Read<S> = fn(&S) -> u64;
        let of_subscription: [(&str, Unit, Read<Counters>); 12] = [
            ("messages", Unit::count("messages"), |it| it.messages),
            ("message_bytes", Unit::Bytes, |it| it.bytes),
            ("gaps", Unit::count("gaps"), |it| it.gaps),
            ("recovered", Unit::count("messages"), |it| it.recovered),
            ("lost", Unit::count("messages"), |it| it.lost),
            ("differing", Unit::count("messages"), |it| it.differing),
            ("duplicates", Unit::count("messages"), |it| it.duplicates),
            ("deferred", Unit::count("messages"), |it| it.deferred),
            ("requests", Unit::count("requests"), |it| it.requests),
            ("retries", Unit::count("requests"), |it| it.retries),
            ("retransmissions", Unit::count("packets"), |it| it.retransmissions),
            ("foreign", Unit::count("packets"), |it| it.foreign),
        ];
        for (name, unit, read) in of_subscription {
            self.counter(name, &unit, &[], move |view| read(&view.counters.subscription));
        }
        for reason in PacketError::ALL {
            let labels = [("reason", reason.name())];
            self.counter("malformed", &Unit::count("datagrams"), &labels, move |view| {
                view.counters.subscription.malformed[reason as usize]
            });
        }
        let of_subscriber: [(&str, Unit, Read<SubscriberCounters>); 4] = [
            ("kernel_drops", Unit::count("datagrams"), |it| it.kernel_drops),
            ("other_sources", Unit::count("datagrams"), |it| it.other_sources),
            ("requests_refused", Unit::count("requests"), |it| it.requests_refused),
            ("socket_errors", Unit::count("errors"), |it| it.socket_errors),
        ];
        for (name, unit, read) in of_subscriber {
            self.counter(name, &unit, &[], move |view| read(&view.counters));
        }
        let of_impairment: [(&str, Read<ImpairmentCounters>); 6] = [
            ("impaired_datagrams", |it| it.datagrams),
            ("impaired_dropped", |it| it.dropped),
            ("impaired_duplicated", |it| it.duplicated),
            ("impaired_reordered", |it| it.reordered),
            ("impaired_delayed", |it| it.delayed),
            ("impaired_early", |it| it.early),
        ];
        for (name, read) in of_impairment.into_iter().filter(|_| has_impairment) {
            self.counter(name, &Unit::count("datagrams"), &[], move |view| read(&view.counters.impairment));
        }
    }

    fn add_gauges(&mut self) {
        type Read = fn(&View) -> u64;
        let gauges: [(&str, Unit, Read); 8] = [
            ("next", Unit::Number, |view| view.next),
            ("highest", Unit::Number, |view| view.highest),
            ("lag_messages", Unit::count("messages"), |view| view.highest - view.next),
            ("lag_time", Unit::Nanoseconds, |view| view.lag_time.0),
            ("open_gaps", Unit::count("gaps"), |view| view.open_gaps as u64),
            ("caught_up", Unit::Flag, |view| u64::from(view.is_caught_up)),
            ("heard", Unit::Flag, |view| u64::from(view.is_heard)),
            ("ended", Unit::Flag, |view| u64::from(view.has_ended)),
        ];
        for (name, unit, read) in gauges {
            self.gauge(name, &unit, &[], read);
        }
    }

    fn add_headroom(&mut self) {
        fn of(view: &View) -> Headroom {
            view.headroom.unwrap_or_default()
        }
        self.gauge("headroom_messages", &Unit::count("messages"), &[], |view| of(view).messages);
        self.gauge("headroom_bytes", &Unit::Bytes, &[], |view| of(view).bytes);
        self.gauge("headroom_time", &Unit::Nanoseconds, &[], |view| {
            of(view).time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        });
    }

    fn add_line(&mut self, line: Line, inode: Option<u64>, buffer_bytes: Option<u64>) {
        type Read<S> = fn(&S) -> u64;
        let index = line.index();
        let labels = [("line", LABELS[index])];
        let counters: [(&str, Unit, Read<LineCounters>); 5] = [
            ("line_packets", Unit::count("packets"), |it| it.packets),
            ("line_bytes", Unit::Bytes, |it| it.bytes),
            ("line_first", Unit::count("messages"), |it| it.first),
            ("line_missed", Unit::count("messages"), |it| it.missed),
            ("line_late", Unit::count("messages"), |it| it.late),
        ];
        for (name, unit, read) in counters {
            self.counter(name, &unit, &labels, move |view| read(&view.counters.subscription.lines[index]));
        }
        let gauges: [(&str, Unit, Read<LineView>); 3] = [
            ("line_heard_at", Unit::Time, |it| it.heard_at.0),
            ("line_silent", Unit::Flag, |it| u64::from(it.is_silent)),
            ("line_behind", Unit::count("messages"), |it| it.behind),
        ];
        for (name, unit, read) in gauges {
            self.gauge(name, &unit, &labels, move |view| read(&view.lines[index]));
        }
        if let Some(inode) = inode {
            self.gauge("line_socket_inode", &Unit::count("inode"), &labels, move |_| inode);
        }
        if let Some(bytes) = buffer_bytes {
            self.gauge("receive_buffer_bytes", &Unit::Bytes, &labels, move |_| bytes);
        }
        self.leads[index] = Some(self.description.histogram("line_lead", &Unit::Nanoseconds, &labels));
    }
}

/// By which the kernel's tables name a socket.
fn inode(fd: RawFd) -> Option<u64> {
    std::fs::metadata(format!("/proc/self/fd/{fd}")).ok().map(|socket| socket.ino())
}
