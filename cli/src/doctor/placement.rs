//! Cores: how many there are for threads that spin, which of them are one core, and which are near the card.

use super::finding::{Finding, Level};
use super::system::{System, cores};
use crate::progress::count;

/// Threads that may spin: a publisher's, a subscriber's, a retransmitter's.
const SPINNING: usize = 3;

/// Cores for threads that spin; `interfaces` are those of the lines.
pub(super) fn findings(system: &System, interfaces: &[String]) -> Vec<Finding> {
    let status = system.text("proc/self/status").unwrap_or_default();
    let allowed =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(cores).unwrap_or_default();
    let siblings = |core: usize| {
        let list = system.text(&format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"))?;
        Some(cores(&list)).filter(|siblings| siblings.contains(&core))
    };
    let shared: Vec<_> = allowed.iter().filter_map(|&core| siblings(core)).collect();
    // Of each physical core the first that is allowed.
    let mut alone = allowed.clone();
    alone.retain(|&core| {
        let first = siblings(core).and_then(|all| all.into_iter().find(|sibling| allowed.contains(sibling)));
        first.is_none_or(|first| first == core)
    });
    let mut findings = vec![
        number(&allowed, &alone),
        hyperthreads(allowed.len(), alone.len(), &shared),
        isolated(system.text("sys/devices/system/cpu/isolated"), alone.last().copied()),
    ];
    findings.extend(interfaces.iter().map(|interface| node(system, interface, &alone)));
    findings
}

fn number(allowed: &[usize], alone: &[usize]) -> Finding {
    const SUBJECT: &str = "cores";
    let spinning = count(alone.len().saturating_sub(1) as u64, "spinning thread");
    let what = format!("{}: room for {spinning} of publisher, subscriber, retransmitter", list(allowed));
    match alone.len() {
        0 => Finding::unseen(SUBJECT, "the cores of this process could not be seen"),
        1 => Finding::new(
            Level::Warning,
            SUBJECT,
            format!("one, {}", list(allowed)),
            "a thread that spins there keeps the kernel and all else from running",
        )
        .mend("taskset --pid --cpu-list 0-$(($(nproc --all) - 1)) $$"),
        // One is left for the kernel and all else.
        _ if alone.len() > SPINNING => Finding::ok(SUBJECT, what),
        _ => Finding::new(
            Level::Note,
            SUBJECT,
            what,
            "what shares a core with a thread that spins waits for milliseconds: give --core only to those there is room for",
        ),
    }
}

fn hyperthreads(allowed: usize, alone: usize, shared: &[Vec<usize>]) -> Finding {
    const SUBJECT: &str = "hyperthreads";
    if shared.is_empty() {
        return Finding::unseen(SUBJECT, "which cores are siblings could not be seen");
    }
    let mut pairs: Vec<_> = shared.iter().filter(|siblings| siblings.len() > 1).collect();
    pairs.sort_unstable();
    pairs.dedup();
    match pairs[..] {
        [] => Finding::ok(SUBJECT, "every core is its own"),
        [first, ..] => Finding::new(
            Level::Note,
            SUBJECT,
            format!("{allowed} cores are {alone}; one is {}", list(first)),
            "a thread that spins slows down its sibling: give it both, or switch siblings off",
        )
        .mend("echo off > /sys/devices/system/cpu/smt/control"),
    }
}

fn isolated(isolated: Option<String>, last: Option<usize>) -> Finding {
    const SUBJECT: &str = "isolated cores";
    match isolated {
        None => Finding::unseen(SUBJECT, "they could not be seen"),
        Some(isolated) if !isolated.is_empty() => Finding::ok(SUBJECT, isolated),
        Some(_) => {
            let why = "other threads and interrupts come in between on a core that is not kept free";
            let finding = Finding::new(Level::Note, SUBJECT, "none", why);
            // Takes effect with the next start of the machine.
            let command = |last| {
                let words = format!("isolcpus={last} nohz_full={last}");
                format!("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{words} /' /etc/default/grub && update-grub && reboot")
            };
            last.filter(|&last| last > 0).map_or(finding.clone(), |last| finding.mend(command(last)))
        }
    }
}

/// The cores that are near the card of an interface.
fn node(system: &System, interface: &str, alone: &[usize]) -> Finding {
    const SUBJECT: &str = "memory node";
    let unseen = || Finding::unseen(SUBJECT, format!("that of {interface} could not be seen"));
    // -1 says that there is no such thing as near.
    let node = system.value::<i32>(&format!("sys/class/net/{interface}/device/numa_node")).filter(|node| *node >= 0);
    let near = node.and_then(|node| system.text(&format!("sys/devices/system/node/node{node}/cpulist")));
    let (Some(node), Some(near)) = (node, near) else { return unseen() };
    let best: Vec<_> = cores(&near).into_iter().filter(|core| alone.contains(core)).collect();
    let what = format!("{interface} is at node {node} with cores {near}");
    if best.is_empty() {
        let why = "none of them is allowed here: every packet crosses from one socket to another";
        Finding::new(Level::Warning, SUBJECT, what, why).mend(format!("taskset --pid --cpu-list {near} $$"))
    } else {
        Finding::ok(SUBJECT, format!("{what}: pin to one of {}", list(&best)))
    }
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::system::testing::Tree;
    use super::*;

    const SIBLINGS: [&str; 4] = ["0", "1", "2", "3"];

    fn host(name: &str, allowed: &str, siblings: &[&str], more: &[(&str, &str)]) -> Tree {
        let tree = Tree::new(name, &[("proc/self/status", &format!("Name:\tx\nCpus_allowed_list:\t{allowed}\n"))]);
        for (core, list) in siblings.iter().enumerate() {
            let file = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
            tree.write(&[(&file, list)]);
        }
        tree.write(more);
        tree
    }

    fn levels(tree: &Tree) -> Vec<Level> {
        findings(&tree.system(), &["eth7".to_owned()]).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn four_cores_near_the_card_and_one_kept_free_are_enough() {
        let more = [
            ("sys/devices/system/cpu/isolated", "3\n"),
            ("sys/class/net/eth7/device/numa_node", "0\n"),
            ("sys/devices/system/node/node0/cpulist", "0-3\n"),
        ];
        assert_eq!(levels(&host("four", "0-3", &SIBLINGS, &more)), [Level::Ok; 4]);
    }

    #[test]
    fn siblings_are_counted_once_and_a_far_card_is_told() {
        let more = [
            ("sys/devices/system/cpu/isolated", "\n"),
            ("sys/class/net/eth7/device/numa_node", "1"),
            ("sys/devices/system/node/node1/cpulist", "4-7"),
        ];
        let tree = host("siblings", "0-3", &["0,2", "1,3", "0,2", "1,3"], &more);
        assert_eq!(levels(&tree), [Level::Note, Level::Note, Level::Note, Level::Warning]);
        let found = findings(&tree.system(), &[]);
        assert_eq!(found[1].what, "4 cores are 2; one is 0,2");
        assert!(found[2].mend.as_deref().unwrap().contains("isolcpus=1 nohz_full=1"));
    }

    #[test]
    fn one_core_is_none_to_spin_on_and_none_to_be_seen_is_told() {
        assert_eq!(levels(&host("one", "2", &[], &[]))[0], Level::Warning);
        assert_eq!(levels(&Tree::new("no-cores", &[])), [Level::Unseen; 4]);
    }
}
