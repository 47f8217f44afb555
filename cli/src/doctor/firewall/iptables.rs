//! The rules of iptables, as `iptables-save` writes them (iptables-save(8)).

use super::{Base, Chain, Rule, Ruleset, Traffic, Truth, Verdict, is_in_network};

/// Reads the rules that decide about packets of a line.
pub(super) fn parse(text: &str, traffic: &Traffic) -> Ruleset {
    let bases: &[&str] = if traffic.is_inbound { &["PREROUTING", "INPUT"] } else { &["OUTPUT", "POSTROUTING"] };
    let mut ruleset = Ruleset::default();
    let mut table = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(declared) = line.strip_prefix(':') {
            let mut words = declared.split_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else { continue };
            let base = bases.contains(&name).then(|| {
                let (group, port) = (traffic.destination.ip(), traffic.destination.port());
                Base {
                    applies: Truth::Yes,
                    drops: policy == "DROP",
                    name: format!("chain {name} of table {table}"),
                    admit: format!("iptables -t {table} -A {name} -d {group} -p udp --dport {port} -j ACCEPT"),
                }
            });
            ruleset.chains.insert(format!("{table} {name}"), Chain { rules: Vec::new(), base });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            if let Some((matches, verdict)) = decision(rest, table, traffic) {
                let name = format!("`{rest}` of chain {chain} of table {table}");
                let rule = Rule { matches, verdict, name, remove: format!("iptables -t {table} -D {chain} {rest}") };
                ruleset.chains.entry(format!("{table} {chain}")).or_default().rules.push(rule);
            }
        }
    }
    ruleset
}

/// What a rule decides, and of which packets; `None` if it decides nothing.
fn decision(rest: &str, table: &str, traffic: &Traffic) -> Option<(Truth, Verdict)> {
    let mut matches = Truth::Yes;
    let mut verdict = None;
    let mut is_negated = false;
    let mut words = rest.split_whitespace();
    while let Some(option) = words.next() {
        let holds = match option {
            "!" => {
                is_negated = true;
                continue;
            }
            "-m" | "--reject-with" => {
                words.next();
                continue;
            }
            // Words between quotes are skipped as options that are not known; they limit nothing.
            "--comment" => {
                let first = words.next()?;
                if first.starts_with('"') && !(first.len() > 1 && first.ends_with('"')) {
                    words.by_ref().find(|word| word.ends_with('"'));
                }
                continue;
            }
            "-j" | "-g" => {
                let target = words.next()?;
                verdict = match target {
                    "ACCEPT" => Some(Verdict::Accept),
                    "DROP" | "REJECT" => Some(Verdict::Drop),
                    "RETURN" => Some(Verdict::Return),
                    // Targets that change or tell and go on, and chains of the user, of which only those are found.
                    _ if option == "-g" => Some(Verdict::Goto(format!("{table} {target}"))),
                    _ => Some(Verdict::Jump(format!("{table} {target}"))),
                };
                continue;
            }
            "-d" => network(words.next()?, traffic),
            "-p" => Truth::of(matches!(words.next()?, "udp" | "17" | "all")),
            "--dport" | "--dports" => {
                words.next()?.split(',').fold(Truth::No, |truth, range| truth.or(port(range, traffic)))
            }
            "-i" if traffic.is_inbound => device(words.next()?, traffic),
            "-o" if !traffic.is_inbound => device(words.next()?, traffic),
            // A line is not answered, so that each packet begins its connection anew.
            "--ctstate" | "--state" => Truth::of(words.next()?.split(',').any(|state| state == "NEW")),
            "--pkt-type" if traffic.is_inbound => Truth::of(words.next()? == "multicast"),
            "--dst-type" => Truth::of(words.next()? == "MULTICAST"),
            // Options of a target, and whatever else is asked for.
            _ if verdict.is_some() => continue,
            _ => Truth::Maybe,
        };
        matches = matches.and(if std::mem::take(&mut is_negated) { holds.not() } else { holds });
    }
    Some((matches, verdict?))
}

fn network(text: &str, traffic: &Traffic) -> Truth {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let is_in = length.parse().ok().and_then(|length| is_in_network(*traffic.destination.ip(), address, length));
    is_in.map_or(Truth::Maybe, Truth::of)
}

fn port(range: &str, traffic: &Traffic) -> Truth {
    let (first, last) = range.split_once(':').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => Truth::of((first..=last).contains(&traffic.destination.port())),
        _ => Truth::Maybe,
    }
}

/// Whether it is the device; a name that ends in `+` stands for any end.
fn device(name: &str, traffic: &Traffic) -> Truth {
    let ours = traffic.interface.as_str();
    Truth::of(name.strip_suffix('+').map_or(ours == name, |beginning| ours.starts_with(beginning)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drops, traffic};
    use super::*;

    fn judged(policy: &str, rules: &[&str]) -> Vec<bool> {
        let text =
            format!("# Generated\n*filter\n:INPUT {policy} [0:0]\n:OUTPUT DROP [0:0]\n{}\nCOMMIT\n", rules.join("\n"));
        drops(&parse(&text, &traffic(true))).into_iter().map(|(all, _)| all).collect()
    }

    #[test]
    fn rules_for_the_line_are_told_from_others() {
        let all: [&str; 7] = [
            "-A INPUT -d 239.1.1.1/32 -p udp -m udp --dport 30001 -j DROP",
            "-A INPUT -d 239.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable",
            "-A INPUT -i eth+ -p udp -m multiport --dports 5,30000:30005 -j DROP",
            "-A INPUT ! -d 10.0.0.0/8 -m comment --comment \"no other\" -j DROP",
            "-A INPUT -m pkttype --pkt-type multicast -j DROP",
            "-A INPUT -m addrtype --dst-type MULTICAST -j DROP",
            "-A INPUT -j LOG --log-prefix x\n-A INPUT -j DROP",
        ];
        for rule in all {
            assert_eq!(judged("ACCEPT", &[rule]), [true], "{rule}");
        }
        for rule in ["-s 10.0.0.1/32", "-m statistic --mode random --probability 0.01", "-i eth7 -m u32 --u32 x"] {
            assert_eq!(judged("ACCEPT", &[&format!("-A INPUT {rule} -j DROP")]), [false], "{rule}");
        }
        for rule in
            ["-d 239.1.1.2/32", "-p tcp", "-i lo", "-p udp --dport 22", "! -d 239.0.0.0/8", "-m state --state INVALID"]
        {
            assert_eq!(judged("ACCEPT", &[&format!("-A INPUT {rule} -j DROP")]), [true; 0], "{rule}");
        }
    }

    #[test]
    fn a_policy_drops_what_no_chain_accepts() {
        assert_eq!(judged("DROP", &["-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]), [true]);
        assert_eq!(judged("DROP", &["-A INPUT -j feeds", "-A feeds -d 239.1.1.1/32 -j ACCEPT"]), [true; 0]);
        assert_eq!(judged("DROP", &["-A INPUT -g feeds", "-A INPUT -j ACCEPT"]), [true]);
    }

    #[test]
    fn what_is_no_list_of_rules_does_no_harm() {
        for text in ["", "*", ":", "-A", "-A INPUT -j", "-A INPUT -d", ":INPUT\n-A INPUT !\n", "-A INPUT --comment"] {
            assert_eq!(drops(&parse(text, &traffic(true))), [], "{text}");
        }
    }
}
