//! What became of a path, judged alike at both ends.

use super::probe::Tally;
use crate::doctor::finding::{Finding, Level};
use crate::progress::{count, thousands};
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_transport::IgmpQuery;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddrV4};

/// A path from a sender to a listener and back, as either end knows it.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) group: SocketAddrV4,
    pub(super) sender: Ipv4Addr,
    pub(super) listener: Ipv4Addr,
    /// What the listener has heard.
    pub(super) tally: Tally,
    /// Whether the sender has heard the listener by multicast, and by unicast.
    pub(super) multicast_back: bool,
    pub(super) unicast_back: bool,
    /// The TTL that probes left with.
    pub(super) ttl: u8,
    /// The size that packets should have, if it was tried.
    pub(super) full: usize,
    /// The packets of the burst that left.
    pub(super) burst: u64,
}

const SUBJECT_THERE: &str = "multicast there";
const SUBJECT_BACK: &str = "multicast back";

impl Path {
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = vec![
            self.multicast(SUBJECT_THERE, self.sender, self.listener, self.tally.multicast > 0, self.tally.unicast > 0),
            self.multicast(SUBJECT_BACK, self.listener, self.sender, self.multicast_back, self.unicast_back),
            self.unicast(),
        ];
        if self.tally.multicast > 0 {
            findings.extend(self.ttl());
        }
        if self.full > 0 {
            findings.push(self.size());
        }
        if self.burst > 0 {
            findings.push(self.loss());
            findings.extend(self.order());
        }
        findings
    }

    fn multicast(
        &self,
        subject: &'static str,
        from: Ipv4Addr,
        to: Ipv4Addr,
        passes: bool,
        unicast_passes: bool,
    ) -> Finding {
        let group = self.group;
        if passes {
            return Finding::ok(subject, format!("{group} passes from {from} to {to}"));
        }
        let unicast = if unicast_passes { "passes" } else { "does not, either" };
        let what = format!("{group} dies on the way from {from} to {to}; unicast {unicast}");
        let (ip, port) = (group.ip(), group.port());
        let why = format!(
            "a firewall of {to}, a switch that does not know who joined (no querier), a reverse-path filter, or a router that \
             a TTL of {} does not pass: on {to}, look whether packets arrive at all",
            self.ttl
        );
        Finding::new(Level::Problem, subject, what, why).mend(format!(
            "tcpdump -ni any 'dst host {ip} and udp port {port}'; nft list ruleset; sysctl -ar 'rp_filter'; bridge mdb"
        ))
    }

    fn unicast(&self) -> Finding {
        const SUBJECT: &str = "unicast";
        let (sender, listener) = (self.sender, self.listener);
        match (self.tally.unicast > 0, self.unicast_back) {
            (true, true) => Finding::ok(SUBJECT, format!("passes between {sender} and {listener}")),
            (there, _) => {
                let (from, to) = if there { (listener, sender) } else { (sender, listener) };
                let both = if there || self.unicast_back { "" } else { ", nor back" };
                let why = "requests and answers need it; without it the network itself is in the way, not multicast";
                Finding::new(Level::Problem, SUBJECT, format!("does not pass from {from} to {to}{both}"), why)
                    .mend(format!("ip route get {to} from {from}; ping -c 3 {to}"))
            }
        }
    }

    fn ttl(&self) -> Option<Finding> {
        const SUBJECT: &str = "TTL";
        let (sent, arrived) = (self.ttl, self.tally.ttl?);
        Some(match sent.saturating_sub(arrived) {
            0 => Finding::ok(SUBJECT, format!("left with {sent}, arrived with {arrived}: no router between")),
            routers => Finding::new(
                Level::Note,
                SUBJECT,
                format!("left with {sent}, arrived with {arrived}: {} between", count(routers.into(), "router")),
                "the default of 1 does not pass a router",
            )
            .mend(format!("seqcast publish --ttl {}", u16::from(routers) + 1)),
        })
    }

    fn size(&self) -> Finding {
        const SUBJECT: &str = "full size";
        let Self { full, tally: Tally { largest_multicast, largest_unicast, unicast, .. }, .. } = *self;
        if largest_multicast >= full && (largest_unicast >= full || unicast == 0) {
            return Finding::ok(SUBJECT, format!("datagrams of {} pass", count(full as u64, "byte")));
        }
        let wanted = count(full as u64, "byte");
        let finding = |what: String, mend: String| {
            let why = "packets are never fragmented, and somewhere between the MTU is smaller than at both ends";
            Finding::new(Level::Problem, SUBJECT, what, why).mend(mend)
        };
        if largest_multicast >= full {
            let what = format!("datagrams of {wanted} pass by multicast, not by unicast");
            return finding(what, format!("tracepath -n {}", self.listener));
        }
        let (passes, mtu) = (thousands(largest_multicast as u64), largest_multicast + 28);
        let what = format!("datagrams of {wanted} do not pass, those of {passes} do: an MTU of {mtu}");
        finding(what, format!("seqcast publish --max-datagram {largest_multicast}"))
    }

    fn loss(&self) -> Finding {
        const SUBJECT: &str = "burst";
        let Tally { burst: arrived, kernel_drops, .. } = self.tally;
        let lost = self.burst.saturating_sub(arrived);
        let share = lost as f64 * 100.0 / self.burst as f64;
        let what = format!("{} of {} lost ({share:.2} %)", thousands(lost), count(self.burst, "packet"));
        if lost == 0 {
            return Finding::ok(SUBJECT, what);
        }
        if kernel_drops > 0 {
            let why = format!(
                "the kernel of {} dropped {} for want of receive buffer: it is too small, or its reader too slow",
                self.listener,
                thousands(kernel_drops)
            );
            let mend = format!("sysctl -w net.core.rmem_max={}", seqcast_subscriber::RECEIVE_BUFFER_BYTES);
            return Finding::new(Level::Warning, SUBJECT, what, why).mend(mend);
        }
        let why = format!(
            "dropped between {} and {}, or by a filter of the latter: each has to be asked for again",
            self.sender, self.listener
        );
        Finding::new(Level::Warning, SUBJECT, what, why)
            .mend("ip -statistics -statistics link; nstat --zeros 'Udp*' 'Ip*'; nft list ruleset")
    }

    fn order(&self) -> Option<Finding> {
        const SUBJECT: &str = "order";
        let Tally { duplicates, reordered, burst, .. } = self.tally;
        if burst == 0 {
            return None;
        }
        if duplicates + reordered == 0 {
            return Some(Finding::ok(SUBJECT, "all in order, none twice"));
        }
        let what = format!("{} behind a later one, {} twice", count(reordered, "packet"), thousands(duplicates));
        let why = "parallel ways, or a loop; a subscriber puts them right, after a request where it has only one line";
        Some(Finding::new(Level::Note, SUBJECT, what, why))
    }

    pub(super) fn json(&self) -> Value {
        let tally = &self.tally;
        json!({
            "line": self.group.to_string(),
            "sender": self.sender.to_string(),
            "listener": self.listener.to_string(),
            "multicast_there": tally.multicast > 0,
            "multicast_back": self.multicast_back,
            "unicast_there": tally.unicast > 0,
            "unicast_back": self.unicast_back,
            "ttl_sent": self.ttl,
            "ttl_arrived": tally.ttl,
            "full_bytes": self.full,
            "largest_multicast_bytes": tally.largest_multicast,
            "largest_unicast_bytes": tally.largest_unicast,
            "burst_sent": self.burst,
            "burst_arrived": tally.burst,
            "burst_reordered": tally.reordered,
            "burst_duplicates": tally.duplicates,
            "kernel_drops": tally.kernel_drops,
        })
    }
}

/// Whether somebody asks the network who wants a group; `heard` is `None` where it may not be listened for.
pub(super) fn querier(heard: Option<Option<IgmpQuery>>, time: Nanos, group: SocketAddrV4, interface: &str) -> Finding {
    const SUBJECT: &str = "IGMP querier";
    match heard {
        None => Finding::unseen(SUBJECT, "only root hears one").mend(format!("sudo tcpdump -ni {interface} igmp")),
        Some(Some(IgmpQuery { querier, version })) => Finding::ok(SUBJECT, format!("{querier}, version {version}")),
        Some(None) => {
            // RFC 3376, section 8.2.
            let why = "one asks every 125 s unless set otherwise; where none does, switches that snoop forget groups";
            Finding::new(Level::Note, SUBJECT, format!("none heard in {}", times::in_words(time)), why)
                .mend(format!("seqcast doctor listen --line-a {group}@{interface} --time 150s"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Path {
        let tally = Tally {
            multicast: 9,
            unicast: 9,
            largest_multicast: 1_472,
            largest_unicast: 1_472,
            ttl: Some(1),
            burst: 1_000,
            ..Tally::default()
        };
        let [sender, listener] = [1, 2].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let group = "239.1.1.1:30001".parse().unwrap();
        let (multicast_back, unicast_back) = (true, true);
        Path { group, sender, listener, tally, multicast_back, unicast_back, ttl: 1, full: 1_472, burst: 1_000 }
    }

    /// What is not well.
    fn bad(path: &Path) -> Vec<(&'static str, Level, String)> {
        let findings = path.findings().into_iter().filter(|finding| finding.level != Level::Ok);
        findings.map(|finding| (finding.subject, finding.level, finding.what)).collect()
    }

    #[test]
    fn a_good_path_is_well() {
        assert_eq!((bad(&good()), good().findings().len()), (vec![], 7));
    }

    #[test]
    fn each_direction_is_judged_on_its_own() {
        let mut path = good();
        (path.tally.multicast, path.burst, path.full) = (0, 0, 0);
        let dies = "239.1.1.1:30001 dies on the way from 10.0.0.1 to 10.0.0.2; unicast passes".to_owned();
        assert_eq!(bad(&path), [("multicast there", Level::Problem, dies)]);
        let mut path = good();
        (path.multicast_back, path.unicast_back) = (false, false);
        let found = bad(&path);
        let dies = "239.1.1.1:30001 dies on the way from 10.0.0.2 to 10.0.0.1; unicast does not, either";
        assert_eq!((found[0].0, found[0].2.as_str()), ("multicast back", dies));
        assert_eq!((found[1].0, found[1].2.as_str()), ("unicast", "does not pass from 10.0.0.2 to 10.0.0.1"));
    }

    #[test]
    fn a_small_mtu_loss_routers_and_disorder_are_named() {
        let mut path = good();
        path.tally.largest_multicast = 1_172;
        assert!(bad(&path)[0].2.ends_with("those of 1,172 do: an MTU of 1200"), "{:?}", bad(&path));
        let mut path = good();
        path.tally.largest_unicast = 1_172;
        assert!(bad(&path)[0].2.ends_with("by multicast, not by unicast"));
        let mut path = good();
        (path.tally.burst, path.tally.reordered, path.tally.duplicates) = (990, 3, 2);
        path.ttl = 4;
        let found = bad(&path);
        assert_eq!(found[0].2, "left with 4, arrived with 1: 3 routers between");
        assert_eq!((found[1].1, found[1].2.as_str()), (Level::Warning, "10 of 1,000 packets lost (1.00 %)"));
        assert_eq!(found[2].2, "3 packets behind a later one, 2 twice");
        path.tally.kernel_drops = 10;
        let loss = path.loss();
        assert_eq!(loss.mend.as_deref(), Some("sysctl -w net.core.rmem_max=16777216"));
    }

    #[test]
    fn a_querier_is_heard_not_heard_or_not_to_be_heard() {
        let query = IgmpQuery { querier: Ipv4Addr::new(10, 0, 0, 9), version: 3 };
        let judged = |heard| querier(heard, Nanos::from_secs(60), good().group, "eth7");
        let levels = [Some(Some(query)), Some(None), None].map(|heard| judged(heard).level);
        assert_eq!(levels, [Level::Ok, Level::Note, Level::Unseen]);
    }
}
