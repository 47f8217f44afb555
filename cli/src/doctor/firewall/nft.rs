//! The rules of nftables, as `nft --json list ruleset` writes them (libnftables-json(5)).

use super::{Base, Rule, Ruleset, Traffic, Truth, Verdict, is_in_network};
use serde_json::Value;
use std::net::Ipv4Addr;

/// Reads the rules that decide about packets of a line; `None` if it is no ruleset.
pub(super) fn parse(text: &str, traffic: &Traffic) -> Option<Ruleset> {
    let document: Value = serde_json::from_str(text).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let reader = Reader { objects, traffic };
    let mut ruleset = Ruleset::default();
    for object in objects {
        if let Some(chain) = object.get("chain").filter(|chain| is_ours(chain)) {
            ruleset.chains.entry(key(chain, word(chain, "name"))).or_default().base = reader.base(chain);
        }
        if let Some(rule) = object.get("rule").filter(|rule| is_ours(rule)) {
            let rules = reader.rules(rule);
            ruleset.chains.entry(key(rule, word(rule, "chain"))).or_default().rules.extend(rules);
        }
    }
    Some(ruleset)
}

/// Whether an object is of a family that sees IPv4.
fn is_ours(object: &Value) -> bool {
    matches!(word(object, "family"), "ip" | "inet" | "netdev")
}

fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn table(object: &Value) -> String {
    format!("{} {}", word(object, "family"), word(object, "table"))
}

fn key(object: &Value, chain: &str) -> String {
    format!("{} {chain}", table(object))
}

struct Reader<'a> {
    objects: &'a [Value],
    traffic: &'a Traffic,
}

/// Something about a packet that rules ask for.
enum Field<'a> {
    Group,
    Text(&'a str),
    Number(u64),
    /// Of a header that the packet does not have, which no match holds of.
    Absent,
    Unknown,
}

impl Reader<'_> {
    fn base(&self, chain: &Value) -> Option<Base> {
        let hooks: &[&str] = if self.traffic.is_inbound {
            &["ingress", "prerouting", "input"]
        } else {
            &["output", "postrouting", "egress"]
        };
        if !hooks.contains(&word(chain, "hook")) {
            return None;
        }
        // Some versions do not say of which interfaces a chain is.
        let applies = match chain.get("dev") {
            None => {
                if word(chain, "family") == "netdev" {
                    Truth::Maybe
                } else {
                    Truth::Yes
                }
            }
            Some(devices) => self.is_in(&Field::Text(&self.traffic.interface), devices),
        };
        let name = key(chain, word(chain, "name"));
        let (group, port) = (self.traffic.destination.ip(), self.traffic.destination.port());
        let admit = format!("nft add rule {name} ip daddr {group} udp dport {port} accept");
        Some(Base { applies, drops: word(chain, "policy") == "drop", name: format!("chain {name}"), admit })
    }

    /// The verdicts of a rule, each with when it comes to that.
    fn rules(&self, rule: &Value) -> Vec<Rule> {
        let mut matches = Truth::Yes;
        let mut rules = Vec::new();
        let chain = key(rule, word(rule, "chain"));
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
        let comment = word(rule, "comment");
        let comment = if comment.is_empty() { String::new() } else { format!(" ({comment})") };
        let mut add = |matches, verdict| {
            let name = format!("rule {handle}{comment} of chain {chain}");
            rules.push(Rule { matches, verdict, name, remove: format!("nft delete rule {chain} handle {handle}") });
        };
        let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
        for (kind, body) in statements.flatten() {
            if let Some(verdict) = verdict(kind, body, rule) {
                add(matches, verdict);
                break;
            }
            match kind.as_str() {
                "match" => matches = matches.and(self.holds(body)),
                "vmap" => {
                    for (key, verdict) in self.verdicts(body, rule) {
                        add(matches.and(key), verdict);
                    }
                }
                "counter" | "log" | "mangle" | "set" | "notrack" => {}
                // Limits, random numbers, extensions of iptables.
                _ => matches = matches.and(Truth::Maybe),
            }
        }
        rules
    }

    /// The verdicts of a map, each with whether its key is the packet's.
    fn verdicts(&self, body: &Value, rule: &Value) -> Vec<(Truth, Verdict)> {
        let field = self.field(&body["key"]);
        let elements = self.elements(&body["data"], table(rule).as_str());
        let pair = |element: &Value| {
            let (key, value) = (element.get(0)?, element.get(1)?.as_object()?);
            let verdict = value.iter().find_map(|(kind, body)| verdict(kind, body, rule))?;
            Some((self.is_in(&field, key), verdict))
        };
        elements.iter().filter_map(pair).collect()
    }

    /// Whether a match holds.
    fn holds(&self, body: &Value) -> Truth {
        let field = self.field(&body["left"]);
        let is_in = self.is_in(&field, &body["right"]);
        match word(body, "op") {
            "==" | "in" => is_in,
            "!=" if !matches!(field, Field::Absent) => is_in.not(),
            "!=" => Truth::No,
            _ => Truth::Maybe,
        }
    }

    fn field(&self, left: &Value) -> Field<'_> {
        let destination = self.traffic.destination;
        if let Some(payload) = left.get("payload") {
            return match (word(payload, "protocol"), word(payload, "field")) {
                ("ip", "daddr") => Field::Group,
                ("udp" | "th", "dport") => Field::Number(destination.port().into()),
                ("ip", "protocol") => Field::Text("udp"),
                ("ip" | "udp" | "th" | "", _) => Field::Unknown,
                _ => Field::Absent,
            };
        }
        if let Some(meta) = left.get("meta") {
            let (inbound, interface) = (self.traffic.is_inbound, self.traffic.interface.as_str());
            return match word(meta, "key") {
                "iifname" | "iif" if inbound => Field::Text(interface),
                "oifname" | "oif" if !inbound => Field::Text(interface),
                "l4proto" => Field::Text("udp"),
                "nfproto" => Field::Text("ipv4"),
                "protocol" => Field::Text("ip"),
                "pkttype" if inbound => Field::Text("multicast"),
                _ => Field::Unknown,
            };
        }
        // A line is not answered, so that each packet begins its connection anew.
        if left.get("ct").is_some_and(|ct| word(ct, "key") == "state") {
            return Field::Text("new");
        }
        Field::Unknown
    }

    /// Whether a field is one of what stands on the right of a match.
    fn is_in(&self, field: &Field<'_>, right: &Value) -> Truth {
        let any = |values: &[Value]| values.iter().fold(Truth::No, |truth, value| truth.or(self.is_in(field, value)));
        if let Some(values) = right.as_array() {
            return any(values);
        }
        if let Some(set) = right.get("set") {
            return any(&self.elements(set, ""));
        }
        if let Some(element) = right.get("elem").and_then(|element| element.get("val")) {
            return self.is_in(field, element);
        }
        if let Some(set) = right.as_str().filter(|word| word.starts_with('@')) {
            return any(&self.elements(&Value::from(set), ""));
        }
        match field {
            Field::Unknown => Truth::Maybe,
            Field::Absent => Truth::No,
            Field::Group => self.is_the_group(right),
            Field::Text(text) => right.as_str().map_or(Truth::Maybe, |word| is_word(text, word)),
            Field::Number(number) => match (right.as_u64(), right.get("range").and_then(Value::as_array)) {
                (Some(other), _) => Truth::of(*number == other),
                (_, Some(range)) => match [range.first(), range.get(1)].map(|end| end.and_then(Value::as_u64)) {
                    [Some(first), Some(last)] => Truth::of((first..=last).contains(number)),
                    _ => Truth::Maybe,
                },
                // A name of a port.
                _ => Truth::Maybe,
            },
        }
    }

    fn is_the_group(&self, right: &Value) -> Truth {
        let group = *self.traffic.destination.ip();
        let is_in = if let Some(address) = right.as_str() {
            is_in_network(group, address, 32)
        } else if let Some(prefix) = right.get("prefix") {
            let length = prefix.get("len").and_then(Value::as_u64).and_then(|length| u32::try_from(length).ok());
            length.and_then(|length| is_in_network(group, word(prefix, "addr"), length))
        } else {
            let ends = right.get("range").and_then(Value::as_array);
            let end = |index: usize| ends?.get(index)?.as_str()?.parse::<Ipv4Addr>().ok();
            end(0).zip(end(1)).map(|(first, last)| (first..=last).contains(&group))
        };
        is_in.map_or(Truth::Maybe, Truth::of)
    }

    /// The elements of a set, or of one that is named.
    fn elements(&self, set: &Value, table_name: &str) -> Vec<Value> {
        if let Some(set) = set.get("set") {
            return self.elements(set, table_name);
        }
        if let Some(name) = set.as_str().and_then(|word| word.strip_prefix('@')) {
            let sets = self.objects.iter().filter_map(|object| object.get("set").or_else(|| object.get("map")));
            // Sets of one name in several tables are taken for one where the table is not known.
            let named =
                sets.filter(|set| word(set, "name") == name && (table_name.is_empty() || table(set) == table_name));
            return named.flat_map(|set| set["elem"].as_array().cloned().unwrap_or_default()).collect();
        }
        set.as_array().cloned().unwrap_or_else(|| vec![set.clone()])
    }
}

/// Whether a word is the other, which may end in `*` for any end.
fn is_word(text: &str, word: &str) -> Truth {
    Truth::of(word.strip_suffix('*').map_or(text == word, |beginning| text.starts_with(beginning)))
}

fn verdict(kind: &str, body: &Value, rule: &Value) -> Option<Verdict> {
    let target = || key(rule, word(body, "target"));
    match kind {
        "accept" => Some(Verdict::Accept),
        "drop" | "reject" => Some(Verdict::Drop),
        "return" => Some(Verdict::Return),
        "jump" => Some(Verdict::Jump(target())),
        "goto" => Some(Verdict::Goto(target())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drops, traffic};
    use super::*;

    /// Rules in a chain `input` of the family inet, each as its expressions, with a set of groups beside it.
    fn ruleset(policy: &str, rules: &[&str]) -> String {
        let rule = |(handle, expressions): (usize, &&str)| {
            format!(
                r#", {{"rule": {{"family": "inet", "table": "filter", "chain": "input", "handle": {handle}, "expr": [{expressions}]}}}}"#
            )
        };
        let rules: String = rules.iter().enumerate().map(rule).collect();
        format!(
            r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6"}}}},
            {{"set": {{"family": "inet", "name": "groups", "table": "filter", "elem": [{{"prefix": {{"addr": "239.0.0.0", "len": 8}}}}]}}}},
            {{"chain": {{"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input", "policy": "{policy}"}}}}
            {rules}]}}"#
        )
    }

    fn judged(policy: &str, rules: &[&str]) -> Vec<(bool, String)> {
        drops(&parse(&ruleset(policy, rules), &traffic(true)).unwrap())
    }

    const GROUP: &str =
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "239.1.1.1"}}"#;
    const PORT: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": {"set": [5, {"range": [30001, 30010]}]}}}"#;
    const DROP: &str = r#"{"counter": {"packets": 0, "bytes": 0}}, {"drop": null}"#;

    #[test]
    fn a_rule_for_the_group_is_named_with_the_command_that_removes_it() {
        let text = ruleset("accept", &[&format!("{GROUP}, {PORT}, {DROP}")]);
        let found = parse(&text, &traffic(true)).unwrap().drops();
        assert_eq!((found.len(), found[0].all), (1, true));
        assert_eq!(found[0].what, "rule 0 of chain inet filter input");
        assert_eq!(found[0].mend, "nft delete rule inet filter input handle 0");
        assert_eq!(drops(&parse(&text, &traffic(false)).unwrap()), [], "what leaves is not input");
        let other = Traffic { destination: "239.1.1.2:30001".parse().unwrap(), ..traffic(true) };
        assert_eq!(drops(&parse(&text, &other).unwrap()), []);
    }

    #[test]
    fn a_policy_drops_what_is_not_accepted() {
        let established = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}"#;
        let loopback =
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}"#;
        let web = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 443}}, {"accept": null}"#;
        let policy = "the policy of chain inet filter input".to_owned();
        assert_eq!(judged("drop", &[established, loopback, web]), [(true, policy)]);
        let udp = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, {"accept": null}"#;
        assert_eq!(judged("drop", &[established, udp]), []);
        let card =
            r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth*"}}, {"accept": null}"#;
        assert_eq!(judged("drop", &[card]), []);
    }

    #[test]
    fn what_is_random_or_of_a_source_drops_some() {
        let random =
            r#"{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100, "offset": 0}}, "right": 1}}"#;
        let source = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.1"}}"#;
        for what in [random, source, r#"{"limit": {"rate": 1}}"#, r#"{"xt": null}"#] {
            let found = judged("accept", &[&format!("{GROUP}, {what}, {DROP}")]);
            assert_eq!(found, [(false, "rule 0 of chain inet filter input".to_owned())], "{what}");
        }
    }

    #[test]
    fn sets_maps_prefixes_and_packet_types_are_understood() {
        let set =
            r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "@groups"}}"#;
        let multicast = r#"{"match": {"op": "==", "left": {"meta": {"key": "pkttype"}}, "right": "multicast"}}"#;
        for what in [set, multicast] {
            assert_eq!(judged("accept", &[&format!("{what}, {DROP}")]).len(), 1, "{what}");
        }
        let map = r#"{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": {"set": [[22, {"accept": null}], [PORT, {"drop": null}]]}}}"#;
        assert_eq!(judged("accept", &[&map.replace("PORT", "30001")]).len(), 1);
        assert_eq!(judged("accept", &[&map.replace("PORT", "30002")]).len(), 0);
        let others = r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"prefix": {"addr": "239.0.0.0", "len": 8}}}}"#;
        assert_eq!(judged("accept", &[&format!("{others}, {DROP}")]).len(), 0);
    }

    #[test]
    fn what_is_no_ruleset_is_none_and_an_empty_one_drops_nothing() {
        for text in ["", "{}", "[]", "not json", r#"{"nftables": 5}"#] {
            assert!(parse(text, &traffic(true)).is_none(), "{text}");
        }
        let odd = r#"{"nftables": [5, {"rule": 7}, {"rule": {"family": "ip", "expr": [3, {"vmap": {}}, {"match": {}}]}}, {"chain": {"family": "inet", "hook": "input"}}]}"#;
        assert_eq!(drops(&parse(odd, &traffic(true)).unwrap()), []);
    }
}
