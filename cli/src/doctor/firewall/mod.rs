//! Firewall rules that would drop the packets of a line: those of nftables, and of iptables.
//!
//! Rules are read as far as what they ask is known of every packet of a line: its group, port, protocol and interface.
//! What else they ask for, such as a source or a random number, may hold or not.

mod iptables;
mod nft;

use super::finding::{Finding, Level};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

const SUBJECT: &str = "firewall";

/// How deep jumps are followed: what the kernel allows (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// Packets of a line, as they come in or as they leave.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) interface: String,
    pub(super) destination: SocketAddrV4,
    pub(super) is_inbound: bool,
}

/// Whether something holds of every packet, of none, or of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Maybe,
}

impl Truth {
    fn of(is_true: bool) -> Self {
        if is_true { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Maybe,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Debug)]
struct Rule {
    matches: Truth,
    verdict: Verdict,
    /// What it is called, and the command that removes it.
    name: String,
    remove: String,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    rules: Vec<Rule>,
    base: Option<Base>,
}

/// What makes a chain one that packets of the line come to.
#[derive(Clone, Debug)]
struct Base {
    /// Whether they do: it may be of another interface.
    applies: Truth,
    /// Whether it drops what no rule decides.
    drops: bool,
    /// What it is called, and the command that lets the line pass.
    name: String,
    admit: String,
}

/// The chains of a firewall, by their names.
#[derive(Clone, Debug, Default)]
struct Ruleset {
    chains: HashMap<String, Chain>,
}

/// Something that drops packets of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drops {
    /// All of them, rather than some.
    all: bool,
    what: String,
    mend: String,
}

#[derive(PartialEq, Eq)]
enum End {
    Decided,
    Through,
}

/// A packet's way through the chains.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    drops: Vec<Drops>,
    /// Whether the packet gets as far as this.
    arrives: Truth,
}

impl Ruleset {
    /// What drops packets of the line, in the order of the names of the chains.
    fn drops(&self) -> Vec<Drops> {
        let mut bases: Vec<_> =
            self.chains.iter().filter_map(|(name, chain)| Some((name, chain.base.as_ref()?))).collect();
        bases.sort_unstable_by_key(|(name, _)| *name);
        let mut drops = Vec::new();
        for (name, base) in bases {
            let mut walk = Walk { ruleset: self, drops: Vec::new(), arrives: base.applies };
            if walk.chain(name, 0) == End::Through && base.drops {
                walk.drop_here(Truth::Yes, &format!("the policy of {}", base.name), &base.admit);
            }
            drops.append(&mut walk.drops);
        }
        drops
    }
}

impl Walk<'_> {
    fn drop_here(&mut self, matches: Truth, name: &str, mend: &str) {
        let all = self.arrives.and(matches);
        if all != Truth::No {
            let all = all == Truth::Yes;
            self.drops.push(Drops { all, what: name.to_owned(), mend: mend.to_owned() });
        }
    }

    /// Goes through a chain; `Decided` when no packet comes out at its end.
    fn chain(&mut self, name: &str, depth: usize) -> End {
        let ruleset = self.ruleset;
        let Some(chain) = ruleset.chains.get(name).filter(|_| depth < DEEPEST) else { return End::Through };
        for rule in &chain.rules {
            let is_sure = rule.matches == Truth::Yes;
            if rule.matches == Truth::No {
                continue;
            }
            match &rule.verdict {
                Verdict::Drop => self.drop_here(rule.matches, &rule.name, &rule.remove),
                Verdict::Accept => {}
                // What returns from some packets goes on with the others all the same.
                Verdict::Return if is_sure => return End::Through,
                Verdict::Return => {
                    self.arrives = self.arrives.and(Truth::Maybe);
                    continue;
                }
                Verdict::Jump(target) | Verdict::Goto(target) => {
                    let before = self.arrives;
                    self.arrives = before.and(rule.matches);
                    let end = self.chain(target, depth + 1);
                    if is_sure {
                        match (end, &rule.verdict) {
                            (End::Decided, _) => return End::Decided,
                            (End::Through, Verdict::Goto(_)) => return End::Through,
                            (End::Through, _) => {}
                        }
                    } else {
                        self.arrives = before.and(Truth::Maybe);
                    }
                    continue;
                }
            }
            if is_sure {
                return End::Decided;
            }
            // Some packets were decided here.
            self.arrives = self.arrives.and(Truth::Maybe);
        }
        End::Through
    }
}

/// What the firewalls of this host do to packets of a line.
pub(super) fn findings(traffic: &Traffic) -> Vec<Finding> {
    let nft = run(&["nft", "/usr/sbin/nft"], &["--json", "list", "ruleset"]);
    let iptables = run(&["iptables-save", "/usr/sbin/iptables-save"], &[]);
    let mut findings = Vec::new();
    for (program, output) in [("nft", &nft), ("iptables-save", &iptables)] {
        let ruleset = match output {
            Output::Text(text) if program == "nft" => nft::parse(text, traffic),
            Output::Text(text) => Some(iptables::parse(text, traffic)),
            Output::Refused => None,
            Output::Missing => continue,
        };
        match ruleset {
            Some(ruleset) => findings.extend(judge(&ruleset, program, traffic)),
            None => findings.push(
                Finding::unseen(SUBJECT, format!("{program} does not show its rules; to root it would"))
                    .mend(format!("sudo {}", if program == "nft" { "nft list ruleset" } else { program })),
            ),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::unseen(SUBJECT, "neither nft nor iptables is installed to show rules"));
    }
    findings
}

fn judge(ruleset: &Ruleset, program: &str, traffic: &Traffic) -> Vec<Finding> {
    let Traffic { destination, is_inbound, interface } = traffic;
    let way = if *is_inbound { "from" } else { "to" };
    let drops = ruleset.drops();
    if drops.is_empty() {
        let what = format!("{program}: no rule drops {destination} {way} {interface}");
        return vec![Finding::ok(SUBJECT, what)];
    }
    let finding = |Drops { all, what, mend }| {
        let (level, drops) = if all { (Level::Problem, "drops") } else { (Level::Warning, "drops some of") };
        let what = format!("{program}: {what} {drops} {destination} {way} {interface}");
        let why = if *is_inbound {
            "what is dropped here reaches no subscriber"
        } else {
            "what is dropped here does not leave"
        };
        Finding::new(level, SUBJECT, what, why).mend(mend)
    };
    drops.into_iter().map(finding).collect()
}

enum Output {
    Text(String),
    Refused,
    Missing,
}

/// Runs the first of `programs` that is there.
fn run(programs: &[&str], arguments: &[&str]) -> Output {
    for program in programs {
        let Ok(output) = Command::new(program).args(arguments).stdin(Stdio::null()).output() else { continue };
        return match String::from_utf8(output.stdout) {
            Ok(text) if output.status.success() => Output::Text(text),
            _ => Output::Refused,
        };
    }
    Output::Missing
}

/// Whether an address is in a network; `None` if the text is no address.
fn is_in_network(address: Ipv4Addr, network: &str, length: u32) -> Option<bool> {
    let network: Ipv4Addr = network.parse().ok()?;
    let shift = 32u32.checked_sub(length)?;
    Some((u32::from(address) ^ u32::from(network)).checked_shr(shift).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn traffic(is_inbound: bool) -> Traffic {
        let destination = "239.1.1.1:30001".parse().unwrap();
        Traffic { interface: "eth7".to_owned(), destination, is_inbound }
    }

    /// What drops the line, each with whether it drops all of it.
    pub(super) fn drops(ruleset: &Ruleset) -> Vec<(bool, String)> {
        ruleset.drops().into_iter().map(|drops| (drops.all, drops.what)).collect()
    }

    fn ruleset(rules: &[(&str, Truth, Verdict)], drops: bool) -> Ruleset {
        let mut ruleset = Ruleset::default();
        for (chain, matches, verdict) in rules {
            let name = format!("{chain} {verdict:?}");
            let rule = Rule { matches: *matches, verdict: verdict.clone(), name, remove: String::new() };
            ruleset.chains.entry((*chain).to_owned()).or_default().rules.push(rule);
        }
        let base = Base { applies: Truth::Yes, drops, name: "base".to_owned(), admit: String::new() };
        ruleset.chains.entry("base".to_owned()).or_default().base = Some(base);
        ruleset
    }

    #[test]
    fn what_is_accepted_first_is_not_dropped_later() {
        use Truth::{Maybe, No, Yes};
        use Verdict::{Accept, Drop};
        let of = |rules: &[_], policy| drops(&ruleset(rules, policy));
        let (rule, policy) = ("base Drop".to_owned(), "the policy of base".to_owned());
        assert_eq!(of(&[("base", Yes, Accept), ("base", Yes, Drop)], true), []);
        assert_eq!(of(&[("base", No, Accept), ("base", Yes, Drop)], false), [(true, rule.clone())]);
        assert_eq!(of(&[("base", Maybe, Accept), ("base", Yes, Drop)], true), [(false, rule.clone())]);
        assert_eq!(of(&[("base", Maybe, Drop)], true), [(false, rule), (false, policy.clone())]);
        assert_eq!(of(&[], true), [(true, policy)]);
        assert_eq!(of(&[], false), []);
    }

    #[test]
    fn jumps_come_back_and_gotos_do_not() {
        use Truth::{Maybe, Yes};
        use Verdict::{Accept, Drop, Goto, Jump, Return};
        let more = || "more".to_owned();
        let of = |rules: &[_]| drops(&ruleset(rules, true)).len();
        assert_eq!(of(&[("base", Yes, Jump(more())), ("more", Yes, Return), ("base", Yes, Accept)]), 0);
        assert_eq!(of(&[("base", Yes, Goto(more())), ("more", Yes, Return), ("base", Yes, Accept)]), 1);
        assert_eq!(of(&[("base", Maybe, Goto(more())), ("more", Yes, Drop), ("base", Yes, Accept)]), 1);
        assert_eq!(of(&[("base", Yes, Jump(more())), ("more", Yes, Jump("base".to_owned()))]), 1, "a loop ends");
    }
}
