//! The host: socket buffers, clock, power, limits, and what it has dropped so far.

use super::finding::{Finding, Level};
use super::system::System;
use crate::check::truesize;
use crate::progress::{count, thousands};
use seqcast_subscriber::RECEIVE_BUFFER_BYTES;
use seqcast_transport::BufferGrant;

/// What a publisher asks for as the send buffer of a line unless told otherwise.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Everything about the host; `granted` is what a socket got that asked for [`RECEIVE_BUFFER_BYTES`].
pub(super) fn findings(system: &System, granted: Option<BufferGrant>, max_datagram: usize) -> Vec<Finding> {
    vec![
        receive_buffer(system, granted, max_datagram),
        send_buffer(system),
        receive_errors(system),
        backlog(system),
        governor(system),
        clock_source(system),
        limit(system, "real-time priority", "Max realtime priority", "rtprio", "-r 99", "--priority needs it"),
        limit(system, "locked memory", "Max locked memory", "memlock", "-l unlimited", "--lock-memory needs it"),
        huge_pages(system),
        busy_polling(system),
        memberships(system),
    ]
}

/// What a buffer of so many bytes, as one asks for it, holds.
pub(crate) fn held(bytes: usize, payload_bytes: usize) -> u64 {
    // The kernel gives the double of what is asked (socket(7)).
    (2 * bytes / truesize(payload_bytes)) as u64
}

fn receive_buffer(system: &System, granted: Option<BufferGrant>, max_datagram: usize) -> Finding {
    const SUBJECT: &str = "receive buffer";
    let most: Option<usize> = system.value("proc/sys/net/core/rmem_max");
    let Some(BufferGrant { granted_bytes, .. }) = granted else {
        return Finding::unseen(SUBJECT, "no socket could be opened to ask for one");
    };
    let [full, small] = [max_datagram, 64].map(|bytes| thousands(held(granted_bytes, bytes)));
    let what = format!(
        "{} of {} granted, rmem_max {}: room for {full} datagrams of {} or {small} of 64",
        thousands(granted_bytes as u64),
        count(RECEIVE_BUFFER_BYTES as u64, "byte"),
        most.map_or_else(|| "not to be seen".to_owned(), |most| thousands(most as u64)),
        count(max_datagram as u64, "byte"),
    );
    let mend = format!("sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}");
    if granted_bytes < RECEIVE_BUFFER_BYTES {
        let why = "a longer burst is dropped here while its reader is busy; the kernel also charges its own overhead";
        Finding::new(Level::Warning, SUBJECT, what, why).mend(mend)
    } else if most.is_some_and(|most| most < RECEIVE_BUFFER_BYTES) {
        let why = "this process may exceed rmem_max (CAP_NET_ADMIN), others get no more than that";
        Finding::new(Level::Note, SUBJECT, what, why).mend(mend)
    } else {
        Finding::ok(SUBJECT, what)
    }
}

fn send_buffer(system: &System) -> Finding {
    const SUBJECT: &str = "send buffer";
    let Some(most) = system.value::<usize>("proc/sys/net/core/wmem_max") else {
        return Finding::unseen(SUBJECT, "wmem_max could not be seen");
    };
    let what = format!("wmem_max {}", thousands(most as u64));
    if most >= SEND_BUFFER_BYTES {
        return Finding::ok(SUBJECT, what);
    }
    let why = format!("a publisher asks for {SEND_BUFFER_BYTES} bytes; what a full buffer refuses has to be asked for");
    Finding::new(Level::Note, SUBJECT, what, why).mend(format!("sysctl -w net.core.wmem_max={SEND_BUFFER_BYTES}"))
}

/// Datagrams that full receive buffers have cost, of `/proc/net/snmp`: a line of names and a line of numbers.
fn receive_errors(system: &System) -> Finding {
    const SUBJECT: &str = "buffer overruns";
    let snmp = system.text("proc/net/snmp").unwrap_or_default();
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let errors = lines.next().zip(lines.next()).and_then(|(names, numbers)| {
        let column = names.split_whitespace().position(|name| name == "RcvbufErrors")?;
        numbers.split_whitespace().nth(column)?.parse::<u64>().ok()
    });
    match errors {
        None => Finding::unseen(SUBJECT, "/proc/net/snmp could not be seen"),
        Some(0) => Finding::ok(SUBJECT, "no datagram dropped for want of receive buffer"),
        Some(errors) => Finding::new(
            Level::Note,
            SUBJECT,
            format!("{} dropped for want of receive buffer since the network came up", count(errors, "datagram")),
            "a reader was too slow or its buffer too small; the `d` of the command below is each socket's share",
        )
        .mend("ss --udp --all --memory --processes"),
    }
}

/// Packets that waited in vain for a core, of `/proc/net/softnet_stat`: a line for each core, the second number.
fn backlog(system: &System) -> Finding {
    const SUBJECT: &str = "backlog";
    let Some(text) = system.text("proc/net/softnet_stat") else {
        return Finding::unseen(SUBJECT, "/proc/net/softnet_stat could not be seen");
    };
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    let dropped: u64 = text.lines().filter_map(dropped).sum();
    if dropped == 0 {
        return Finding::ok(SUBJECT, "no packet dropped before it came to a socket");
    }
    let what = format!("{} dropped before they came to a socket", count(dropped, "packet"));
    let why = "the queue of a core was full: bursts beyond net.core.netdev_max_backlog";
    Finding::new(Level::Note, SUBJECT, what, why).mend("sysctl -w net.core.netdev_max_backlog=10000")
}

fn governor(system: &System) -> Finding {
    const SUBJECT: &str = "power";
    let is_core = |name: &String| name.strip_prefix("cpu").is_some_and(|number| number.parse::<usize>().is_ok());
    let governor = |core: String| system.text(&format!("sys/devices/system/cpu/{core}/cpufreq/scaling_governor"));
    let cores = system.names("sys/devices/system/cpu").into_iter().filter(is_core);
    let mut governors: Vec<_> = cores.filter_map(governor).collect();
    governors.sort_unstable();
    governors.dedup();
    let what = format!("governor {}", governors.join(", "));
    match governors[..] {
        [] => Finding::unseen(SUBJECT, "no frequency governor to be seen, as in most virtual machines"),
        [ref only] if only == "performance" => Finding::ok(SUBJECT, what),
        _ => Finding::new(Level::Warning, SUBJECT, what, "a core that has slowed down takes milliseconds to speed up")
            .mend("cpupower frequency-set --governor performance"),
    }
}

fn clock_source(system: &System) -> Finding {
    const SUBJECT: &str = "clock source";
    const DIRECTORY: &str = "sys/devices/system/clocksource/clocksource0";
    let Some(current) = system.text(&format!("{DIRECTORY}/current_clocksource")) else {
        return Finding::unseen(SUBJECT, "it could not be seen");
    };
    // Those that are read without a system call (vdso(7)).
    if ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"].contains(&current.as_str()) {
        return Finding::ok(SUBJECT, current);
    }
    let available = system.text(&format!("{DIRECTORY}/available_clocksource")).unwrap_or_default();
    let why = "reading the clock is a system call of about a microsecond, and every duty cycle reads it";
    let finding = Finding::new(Level::Warning, SUBJECT, format!("{current}; there are {available}"), why);
    if available.split_whitespace().any(|name| name == "tsc") {
        finding.mend(format!("echo tsc > /{DIRECTORY}/current_clocksource"))
    } else {
        finding
    }
}

/// A limit of this process (proc_pid_limits(5)): name, soft limit, hard limit, unit.
fn limit(system: &System, subject: &'static str, name: &str, item: &str, ulimit: &str, why: &'static str) -> Finding {
    let limits = system.text("proc/self/limits").unwrap_or_default();
    let Some(rest) = limits.lines().find_map(|line| line.strip_prefix(name)) else {
        return Finding::unseen(subject, "/proc/self/limits could not be seen");
    };
    let soft = rest.split_whitespace().next().unwrap_or_default();
    let what = format!("limit {soft}");
    // Of a priority the highest is 99 (sched(7)).
    let is_enough = soft == "unlimited" || item == "rtprio" && soft.parse().is_ok_and(|soft: u64| soft >= 99);
    if is_enough {
        return Finding::ok(subject, what);
    }
    let why =
        format!("{why}, unless the process has the capability; in a systemd unit it is Limit{}", item.to_uppercase());
    Finding::new(Level::Note, subject, what, why).mend(format!("ulimit {ulimit}"))
}

fn huge_pages(system: &System) -> Finding {
    const SUBJECT: &str = "huge pages";
    const FILE: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    let Some(text) = system.text(FILE) else { return Finding::unseen(SUBJECT, "they could not be seen") };
    // The choice is in brackets: `always [madvise] never`.
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    if chosen != "always" {
        return Finding::ok(SUBJECT, format!("transparent ones: {chosen}"));
    }
    let why = "the kernel stops threads for a moment while it moves their memory into huge pages";
    Finding::new(Level::Note, SUBJECT, "transparent ones: always", why).mend(format!("echo madvise > /{FILE}"))
}

fn busy_polling(system: &System) -> Finding {
    const SUBJECT: &str = "busy polling";
    let value = |name| system.value::<u64>(&format!("proc/sys/net/core/{name}"));
    let (Some(read), Some(poll)) = (value("busy_read"), value("busy_poll")) else {
        return Finding::unseen(SUBJECT, "busy_read and busy_poll could not be seen");
    };
    let what = format!("busy_read {read} µs, busy_poll {poll} µs");
    if read > 0 {
        return Finding::ok(SUBJECT, what);
    }
    let why = "with it a reader that spins looks into the card itself instead of waiting for an interrupt";
    Finding::new(Level::Note, SUBJECT, what, why).mend("sysctl -w net.core.busy_read=50")
}

fn memberships(system: &System) -> Finding {
    const SUBJECT: &str = "group memberships";
    match system.value::<u32>("proc/sys/net/ipv4/igmp_max_memberships") {
        None => Finding::unseen(SUBJECT, "igmp_max_memberships could not be seen"),
        // Each line has a socket of its own.
        Some(most @ 1..) => Finding::ok(SUBJECT, format!("{most} for each socket, and a line needs 1")),
        Some(0) => Finding::new(Level::Problem, SUBJECT, "none for any socket", "no group can be joined")
            .mend("sysctl -w net.ipv4.igmp_max_memberships=20"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::system::testing::Tree;
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units
Max locked memory         8388608              8388608              bytes
Max realtime priority     0                    0                    \n";

    fn grant(granted_bytes: usize) -> Option<BufferGrant> {
        Some(BufferGrant { asked_bytes: Some(RECEIVE_BUFFER_BYTES), granted_bytes })
    }

    fn level(findings: &[Finding], subject: &str) -> Level {
        findings.iter().find(|finding| finding.subject == subject).unwrap().level
    }

    #[test]
    fn a_tuned_host_is_well() {
        let tree = Tree::new(
            "tuned",
            &[
                ("proc/sys/net/core/rmem_max", "16777216\n"),
                ("proc/sys/net/core/wmem_max", "1048576\n"),
                ("proc/sys/net/core/busy_read", "50"),
                ("proc/sys/net/core/busy_poll", "50"),
                ("proc/sys/net/ipv4/igmp_max_memberships", "20\n"),
                ("proc/net/snmp", "Ip: Forwarding\nIp: 1\nUdp: In RcvbufErrors Snd\nUdp: 9 0 9\nUdpLite: In\n"),
                ("proc/net/softnet_stat", "0000ffff 00000000 00000001\n0000ffff 00000000 00000001\n"),
                ("proc/self/limits", &LIMITS.replace("8388608  ", "unlimited").replace(" 0 ", " 99")),
                ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
                ("sys/devices/system/cpu/cpufreq/none", ""),
                ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ],
        );
        let found = findings(&tree.system(), grant(16 << 20), 1_400);
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
        assert!(
            found[0].what.contains("room for 14,563 datagrams of 1,400 bytes or 40,329 of 64"),
            "{}",
            found[0].what
        );
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_with_its_mend() {
        let tree = Tree::new(
            "wrong",
            &[
                ("proc/sys/net/core/rmem_max", "212992"),
                ("proc/sys/net/core/wmem_max", "212992"),
                ("proc/sys/net/core/busy_read", "0"),
                ("proc/sys/net/core/busy_poll", "0"),
                ("proc/sys/net/ipv4/igmp_max_memberships", "0"),
                ("proc/net/snmp", "Udp: In RcvbufErrors\nUdp: 9 12\n"),
                ("proc/net/softnet_stat", "0000ffff 0000000a\n0000ffff 00000001\n"),
                ("proc/self/limits", LIMITS),
                ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
                ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"),
                ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
                ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
            ],
        );
        let found = findings(&tree.system(), grant(212_992), 1_400);
        let expected = [
            ("receive buffer", Level::Warning, "sysctl -w net.core.rmem_max=16777216"),
            ("send buffer", Level::Note, "sysctl -w net.core.wmem_max=1048576"),
            ("buffer overruns", Level::Note, "ss --udp --all --memory --processes"),
            ("backlog", Level::Note, "sysctl -w net.core.netdev_max_backlog=10000"),
            ("power", Level::Warning, "cpupower frequency-set --governor performance"),
            (
                "clock source",
                Level::Warning,
                "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
            ),
            ("real-time priority", Level::Note, "ulimit -r 99"),
            ("locked memory", Level::Note, "ulimit -l unlimited"),
            ("huge pages", Level::Note, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
            ("busy polling", Level::Note, "sysctl -w net.core.busy_read=50"),
            ("group memberships", Level::Problem, "sysctl -w net.ipv4.igmp_max_memberships=20"),
        ];
        let of = |finding: &Finding| (finding.subject, finding.level, finding.mend.clone().unwrap());
        let found_all: Vec<_> = found.iter().map(of).collect();
        assert_eq!(found_all, expected.map(|(subject, level, mend)| (subject, level, mend.to_owned())));
        assert!(found[3].what.starts_with("11 packets"));
        let lifted = findings(&tree.system(), grant(16 << 20), 1_400);
        assert_eq!(level(&lifted, "receive buffer"), Level::Note, "root gets more than others");
    }

    #[test]
    fn a_host_that_shows_nothing_is_told_of_as_not_seen() {
        let found = findings(&Tree::new("nothing", &[]).system(), None, 1_400);
        assert!(found.iter().all(|finding| finding.level == Level::Unseen), "{found:#?}");
    }
}
