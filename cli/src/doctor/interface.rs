//! An interface: whether it carries multicast and full packets, what its driver does to them, and what it has dropped.

use super::finding::{Finding, Level};
use super::system::System;
use crate::progress::{count, thousands};
use seqcast_transport::{Coalescing, Ethtool, Interface, InterfaceError, ReceiveRing, Stamps};

/// The headers of IPv4 and UDP, which the MTU includes.
const HEADER_BYTES: usize = 28;

/// The largest UDP payload that passes an interface whole.
fn largest_datagram(interface: &Interface) -> usize {
    // An IPv4 packet is no longer, whatever the MTU.
    (interface.mtu.min(65_535) as usize).saturating_sub(HEADER_BYTES)
}

/// An interface that cannot be used.
pub(super) fn unusable(error: &InterfaceError) -> Finding {
    let words = error.to_string();
    let finding = |what: &str| Finding::new(Level::Problem, "interface", what, "no line can use it");
    // The command that such errors name stands between backquotes at their end.
    match words.rsplit('`').nth(1).filter(|_| words.ends_with('`')) {
        Some(command) => finding(words.split([':', ';']).next().unwrap_or(&words)).mend(command),
        None => finding(&words),
    }
}

/// Everything about an interface.
pub(super) fn findings(system: &System, interface: &Interface, ethtool: &Ethtool, max_datagram: usize) -> Vec<Finding> {
    let name = &interface.name;
    let mut findings = vec![flags(interface), mtu(interface, max_datagram)];
    findings.push(reverse_path(system, name));
    if interface.is_loopback {
        // There is no card, no driver, and nobody to ask for groups.
        return findings;
    }
    findings.extend([
        driver(system, name, ethtool),
        ring(name, ethtool.receive_ring),
        coalescing(name, ethtool.coalescing),
        merging(name, ethtool),
        timestamping(ethtool.stamps),
        drops(system, name),
        igmp_version(system, name),
    ]);
    findings.extend(bridge(system, name));
    findings
}

fn flags(interface: &Interface) -> Finding {
    const SUBJECT: &str = "flags";
    match interface.require_multicast() {
        Ok(()) if interface.is_loopback => Finding::ok(SUBJECT, "up, loopback: nothing leaves the host"),
        Ok(()) => Finding::ok(SUBJECT, "up, multicast"),
        Err(error) => Finding { subject: SUBJECT, ..unusable(&error) },
    }
}

fn mtu(interface: &Interface, max_datagram: usize) -> Finding {
    const SUBJECT: &str = "MTU";
    let (mtu, name) = (interface.mtu, &interface.name);
    let largest = largest_datagram(interface);
    let wanted = thousands(max_datagram as u64);
    let what = format!("{mtu}: datagrams of up to {} pass, {wanted} wanted", count(largest as u64, "byte"));
    if largest >= max_datagram {
        return Finding::ok(SUBJECT, what);
    }
    let why =
        format!("packets are never fragmented: a publisher refuses to start; or give it --max-datagram {largest}");
    let mend = format!("ip link set dev {name} mtu {}", max_datagram + HEADER_BYTES);
    Finding::new(Level::Problem, SUBJECT, what, why).mend(mend)
}

/// The stricter of the two settings counts (networking/ip-sysctl.rst).
fn reverse_path(system: &System, name: &str) -> Finding {
    const SUBJECT: &str = "reverse-path filter";
    let of = |name: &str| system.value::<u8>(&format!("proc/sys/net/ipv4/conf/{name}/rp_filter"));
    match of("all").zip(of(name)).map(|(all, own)| all.max(own)) {
        None => Finding::unseen(SUBJECT, "rp_filter could not be seen"),
        Some(1) => Finding::new(
            Level::Note,
            SUBJECT,
            "strict",
            "drops silently what comes from a sender that this host would answer through another interface",
        )
        .mend(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2")),
        Some(0) => Finding::ok(SUBJECT, "off"),
        Some(_) => Finding::ok(SUBJECT, "loose: drops only what comes from senders without a route back"),
    }
}

fn driver(system: &System, name: &str, ethtool: &Ethtool) -> Finding {
    const SUBJECT: &str = "driver";
    let driver = ethtool.driver.clone().or_else(|| system.link(&format!("sys/class/net/{name}/device/driver")));
    let Some(driver) = driver else { return Finding::unseen(SUBJECT, "it could not be seen") };
    // Unknown speeds are -1, or an error.
    let speed = system.value::<i64>(&format!("sys/class/net/{name}/speed")).filter(|&speed| speed > 0);
    Finding::ok(SUBJECT, speed.map_or(driver.clone(), |speed| format!("{driver}, {speed} Mbit/s")))
}

fn ring(name: &str, ring: Option<ReceiveRing>) -> Finding {
    const SUBJECT: &str = "receive ring";
    let Some(ReceiveRing { packets, most }) = ring else { return Finding::unseen(SUBJECT, "the driver tells of none") };
    let what = format!("{packets} of {most} packets");
    if packets >= most {
        return Finding::ok(SUBJECT, what);
    }
    let why = "a burst that the kernel is late for is lost here, before any receive buffer";
    Finding::new(Level::Note, SUBJECT, what, why).mend(format!("ethtool --set-ring {name} rx {most}"))
}

fn coalescing(name: &str, coalescing: Option<Coalescing>) -> Finding {
    const SUBJECT: &str = "interrupts";
    let Some(Coalescing { micros, is_adaptive }) = coalescing else {
        return Finding::unseen(SUBJECT, "the driver does not tell when the card interrupts");
    };
    if micros == 0 && !is_adaptive {
        return Finding::ok(SUBJECT, "at once");
    }
    let what = format!("after {micros} µs{}", if is_adaptive { ", adapted to the load" } else { "" });
    Finding::new(Level::Note, SUBJECT, what, "packets wait in the card for so long")
        .mend(format!("ethtool --coalesce {name} adaptive-rx off rx-usecs 0"))
}

fn merging(name: &str, ethtool: &Ethtool) -> Finding {
    const SUBJECT: &str = "offloads";
    let of = |name: &str, is_on: Option<bool>| match is_on {
        Some(true) => format!("{name} on"),
        Some(false) => format!("{name} off"),
        None => format!("{name} not to be seen"),
    };
    let Ethtool { merges_in_software, merges_in_hardware, segments, .. } = *ethtool;
    let all = [("GRO", merges_in_software), ("LRO", merges_in_hardware), ("GSO", segments)];
    let what = all.map(|(name, is_on)| of(name, is_on)).join(", ");
    if all.iter().all(|(_, is_on)| is_on.is_none()) {
        Finding::unseen(SUBJECT, "the driver does not tell of them")
    } else if merges_in_hardware == Some(true) {
        Finding::new(Level::Note, SUBJECT, what, "the card holds packets back to merge them")
            .mend(format!("ethtool --features {name} lro off"))
    } else {
        Finding::ok(SUBJECT, what)
    }
}

fn timestamping(stamps: Option<Stamps>) -> Finding {
    const SUBJECT: &str = "timestamping";
    match stamps {
        None => Finding::unseen(SUBJECT, "the driver does not tell of it"),
        Some(Stamps { hardware: true, .. }) => Finding::ok(SUBJECT, "by the card, and by the kernel"),
        Some(Stamps { software: true, .. }) => {
            Finding::ok(SUBJECT, "by the kernel: includes the wait for its interrupt")
        }
        Some(_) => {
            let why = "times of arrival are then those at which a socket was read";
            Finding::new(Level::Note, SUBJECT, "none on receipt", why)
        }
    }
}

/// What the card has dropped; reading these needs no privilege, and 0 is what most drivers that do not count say.
fn drops(system: &System, name: &str) -> Finding {
    const SUBJECT: &str = "card drops";
    let number = |file: &str| system.value::<u64>(&format!("sys/class/net/{name}/statistics/{file}"));
    let (Some(missed), Some(overrun)) = (number("rx_missed_errors"), number("rx_fifo_errors")) else {
        return Finding::unseen(SUBJECT, "its statistics could not be seen");
    };
    let damaged = number("rx_crc_errors").unwrap_or(0);
    if missed + overrun + damaged == 0 {
        return Finding::ok(SUBJECT, "none");
    }
    let what = format!(
        "{} missed, {} for want of room, {} damaged on the wire",
        thousands(missed),
        thousands(overrun),
        thousands(damaged)
    );
    let why = "lost before the kernel saw them: too small a ring, too slow a core, or a bad cable";
    Finding::new(Level::Warning, SUBJECT, what, why).mend(format!("ip -statistics -statistics link show dev {name}"))
}

/// The version of IGMP that the interface speaks: older than 3 after an older querier was heard, or when it is forced.
fn igmp_version(system: &System, name: &str) -> Finding {
    const SUBJECT: &str = "IGMP version";
    let table = system.text("proc/net/igmp").unwrap_or_default();
    // `4  eth0  :  1  V3`; groups follow in lines of their own.
    let version = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields.get(1).map(|device| device.trim_end_matches(':')) == Some(name)).then(|| fields.last().copied())?
    });
    match version {
        None => Finding::unseen(SUBJECT, "/proc/net/igmp has no such interface"),
        Some("V3") => Finding::ok(SUBJECT, "3"),
        Some(version) => Finding::new(
            Level::Note,
            SUBJECT,
            format!("{}: an older querier was heard, or it is forced", version.trim_start_matches('V')),
            "source-specific groups (232.0.0.0/8) need version 3",
        )
        .mend(format!("sysctl net.ipv4.conf.{name}.force_igmp_version")),
    }
}

/// A Linux bridge that the interface is, or is a port of.
fn bridge(system: &System, name: &str) -> Option<Finding> {
    const SUBJECT: &str = "bridge";
    let master = system.link(&format!("sys/class/net/{name}/master"));
    let of = |name: &str, file: &str| system.value::<u8>(&format!("sys/class/net/{name}/bridge/{file}"));
    let bridge = master.as_deref().into_iter().chain([name]).find(|name| of(name, "multicast_snooping").is_some())?;
    let (snoops, asks) = (of(bridge, "multicast_snooping")? != 0, of(bridge, "multicast_querier")? != 0);
    Some(match (snoops, asks) {
        (true, false) => Finding::new(
            Level::Note,
            SUBJECT,
            format!("{bridge} snoops, and is no querier itself"),
            "if nobody else in the network asks, groups are forgotten after some minutes",
        )
        .mend(format!("ip link set dev {bridge} type bridge mcast_querier 1")),
        (true, true) => Finding::ok(SUBJECT, format!("{bridge} snoops and asks who wants a group")),
        (false, _) => Finding::ok(SUBJECT, format!("{bridge} does not snoop: groups go to every port")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::system::testing::Tree;
    use super::*;

    fn card() -> Interface {
        let loopback = Interface::resolve("127.0.0.1").unwrap();
        Interface { name: "eth7".to_owned(), is_loopback: false, is_multicast: true, mtu: 1_500, ..loopback }
    }

    fn table(version: &str) -> String {
        format!(
            "Idx\tDevice    : Count Querier\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1\n4\teth7      :     1      {version}\n"
        )
    }

    #[test]
    fn a_good_card_is_well() {
        let tree = Tree::new(
            "card",
            &[
                ("proc/sys/net/ipv4/conf/all/rp_filter", "0"),
                ("proc/sys/net/ipv4/conf/eth7/rp_filter", "2"),
                ("proc/net/igmp", &table("V3")),
                ("sys/class/net/eth7/speed", "25000"),
                ("sys/class/net/eth7/statistics/rx_missed_errors", "0"),
                ("sys/class/net/eth7/statistics/rx_fifo_errors", "0"),
                ("sys/class/net/eth7/bridge/multicast_snooping", "1"),
                ("sys/class/net/eth7/bridge/multicast_querier", "1"),
            ],
        );
        let ethtool = Ethtool {
            driver: Some("mlx5_core".to_owned()),
            receive_ring: Some(ReceiveRing { packets: 8_192, most: 8_192 }),
            coalescing: Some(Coalescing { micros: 0, is_adaptive: false }),
            merges_in_software: Some(true),
            merges_in_hardware: Some(false),
            segments: Some(true),
            stamps: Some(Stamps { hardware: true, software: true }),
        };
        let found = findings(&tree.system(), &card(), &ethtool, 1_472);
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
        assert_eq!(found.len(), 11);
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_with_its_mend() {
        let tree = Tree::new(
            "wrong-card",
            &[
                ("proc/sys/net/ipv4/conf/all/rp_filter", "1"),
                ("proc/sys/net/ipv4/conf/eth7/rp_filter", "0"),
                ("proc/net/igmp", &table("V2")),
                ("sys/class/net/eth7/statistics/rx_missed_errors", "7"),
                ("sys/class/net/eth7/statistics/rx_fifo_errors", "0"),
                ("sys/class/net/eth7/bridge/multicast_snooping", "1"),
                ("sys/class/net/eth7/bridge/multicast_querier", "0"),
            ],
        );
        let ethtool = Ethtool {
            receive_ring: Some(ReceiveRing { packets: 256, most: 4_096 }),
            coalescing: Some(Coalescing { micros: 8, is_adaptive: true }),
            merges_in_hardware: Some(true),
            stamps: Some(Stamps { hardware: false, software: false }),
            ..Ethtool::default()
        };
        let interface = Interface { is_multicast: false, ..card() };
        let found = findings(&tree.system(), &interface, &ethtool, 8_972);
        let expected = [
            ("flags", Level::Problem, Some("ip link set dev eth7 multicast on")),
            ("MTU", Level::Problem, Some("ip link set dev eth7 mtu 9000")),
            ("reverse-path filter", Level::Note, Some("sysctl -w net.ipv4.conf.eth7.rp_filter=2")),
            ("driver", Level::Unseen, None),
            ("receive ring", Level::Note, Some("ethtool --set-ring eth7 rx 4096")),
            ("interrupts", Level::Note, Some("ethtool --coalesce eth7 adaptive-rx off rx-usecs 0")),
            ("offloads", Level::Note, Some("ethtool --features eth7 lro off")),
            ("timestamping", Level::Note, None),
            ("card drops", Level::Warning, Some("ip -statistics -statistics link show dev eth7")),
            ("IGMP version", Level::Note, Some("sysctl net.ipv4.conf.eth7.force_igmp_version")),
            ("bridge", Level::Note, Some("ip link set dev eth7 type bridge mcast_querier 1")),
        ];
        let found: Vec<_> = found.iter().map(|one| (one.subject, one.level, one.mend.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_card_that_tells_nothing_is_told_of_as_not_seen() {
        let found = findings(&Tree::new("silent-card", &[]).system(), &card(), &Ethtool::default(), 1_472);
        let seen: Vec<_> = found.iter().filter(|one| one.level != Level::Unseen).map(|one| one.subject).collect();
        assert_eq!(seen, ["flags", "MTU"]);
    }

    #[test]
    fn an_interface_that_is_down_is_told_with_its_mend() {
        let down = unusable(&InterfaceError::Down { name: "eth7".to_owned() });
        assert_eq!(
            (down.what.as_str(), down.mend.as_deref()),
            ("interface eth7 is down", Some("ip link set dev eth7 up"))
        );
        let unknown = unusable(&InterfaceError::Unknown { text: "eth8".to_owned(), present: vec!["lo".to_owned()] });
        assert!(unknown.what.contains("eth8") && unknown.what.ends_with("lo") && unknown.mend.is_none());
    }
}
