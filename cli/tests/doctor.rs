//! What `seqcast doctor` finds: on this host, as root and not, and between namespaces whose network is ill on purpose.
//!
//! ```text
//!      sender 10.79.1.1 --- veth --- bridge --- veth --- 10.79.1.2 listener
//! ```
//!
//! Without root, iproute2 or nftables the tests of the network say that they were skipped.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use support::{Ended, Place, Running, number};

const SEQCAST: &str = env!("CARGO_BIN_EXE_seqcast");

/// The group of the tests in namespaces, where no other test is.
const GROUP: &str = "239.79.1.1:30001";

/// Few enough that the receive buffer of 4 MiB holds all of them, however busy the machine is.
const BURST: [&str; 2] = ["--count", "2000"];

/// Runs a program; what it says if it fails.
fn execute<A: AsRef<OsStr>>(program: &str, arguments: &[A], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    let ended = child.wait_with_output().unwrap();
    let [output, errors] = [ended.stdout, ended.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
    if ended.status.success() { Ok(output) } else { Err(format!("{program}: {errors}")) }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Says why a test is skipped.
#[expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]
fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Three namespaces, deleted with it.
struct Network {
    name: String,
}

impl Network {
    /// Makes them, or says why it cannot.
    fn new(name: &str) -> Option<Self> {
        let network = Self { name: format!("seqcast-{name}-{}", std::process::id()) };
        match network.build() {
            Ok(()) => Some(network),
            Err(reason) => {
                skip(&reason);
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        for host in ["switch", "sender", "listener"] {
            self.ip(&format!("netns add {}", self.space(host)))?;
        }
        let switch = self.space("switch");
        // A querier that asks every second, first at once.
        let bridge = "type bridge mcast_snooping 1 mcast_querier 1 mcast_igmp_version 3 mcast_query_interval 100 \
                      mcast_startup_query_interval 100";
        self.ip(&format!("-n {switch} link add bridge up {bridge}"))?;
        for (index, host) in ["sender", "listener"].into_iter().enumerate() {
            let space = self.space(host);
            self.ip(&format!("-n {switch} link add {host} type veth peer name veth netns {space}"))?;
            self.ip(&format!("-n {switch} link set {host} master bridge up"))?;
            self.ip(&format!("-n {space} address add 10.79.1.{}/24 dev veth", index + 1))?;
            self.ip(&format!("-n {space} link set veth up"))?;
            self.ip(&format!("-n {space} link set lo up"))?;
        }
        self.nft("switch", "table ip probe { chain sink { drop\n }\n }\n")
    }

    fn ip(&self, arguments: &str) -> Result<(), String> {
        execute("ip", &words(arguments), "").map(|_| ())
    }

    fn space(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Gives a host rules of nftables.
    fn nft(&self, host: &str, rules: &str) -> Result<(), String> {
        execute("ip", &["netns", "exec", &self.space(host), "nft", "--file", "-"], rules).map(|_| ())
    }

    /// Starts `seqcast doctor` in the namespace of a host.
    fn doctor(&self, place: &Place, host: &str, prefix: &[&str], arguments: &[&str]) -> Running {
        let space = self.space(host);
        let mut command = vec!["netns", "exec", &space];
        command.extend(prefix.iter().copied().chain([SEQCAST, "doctor"]).chain(arguments.iter().copied()));
        place.command("ip", &command).start()
    }

    /// Lets sender and listener find out about the path; the sender first.
    fn diagnose(&self, place: &Place, send: &[&str]) -> [Ended; 2] {
        let listen = self.doctor(place, "listener", &[], &["listen", "--json", "--line-a", &format!("{GROUP}@veth")]);
        let line = format!("{GROUP}@veth");
        let arguments = [&["send", "--json", "--line-a", &line], &BURST[..], send].concat();
        [self.doctor(place, "sender", &[], &arguments).wait(), listen.wait()]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in ["switch", "sender", "listener"] {
            // It may never have been made.
            let _ = self.ip(&format!("netns delete {}", self.space(host)));
        }
    }
}

/// The levels of all findings about a subject.
fn levels<'a>(found: &'a Value, subject: &str) -> Vec<&'a str> {
    let findings = found["findings"].as_array().unwrap().iter().filter(|finding| finding["subject"] == subject);
    findings.map(|finding| finding["level"].as_str().unwrap()).collect()
}

/// The one finding of this subject and level: what it says and what mends it.
#[track_caller]
fn finding<'a>(found: &'a Value, subject: &str, level: &str) -> (&'a str, &'a str) {
    let is_it = |finding: &&Value| finding["subject"] == subject && finding["level"] == level;
    let findings: Vec<_> = found["findings"].as_array().unwrap().iter().filter(is_it).collect();
    let [finding] = findings[..] else { panic!("not one {level} about {subject}: {found:#}") };
    (finding["what"].as_str().unwrap(), finding["mend"].as_str().unwrap_or_default())
}

/// The subjects of all problems and warnings.
fn ills(found: &Value) -> Vec<&str> {
    let findings = found["findings"].as_array().unwrap().iter();
    let ills = findings.filter(|finding| finding["level"] == "problem" || finding["level"] == "warning");
    ills.map(|finding| finding["subject"].as_str().unwrap()).collect()
}

/// The exit code that the worst finding stands for.
fn code(found: &Value) -> i32 {
    let has = |level: &str| found["findings"].as_array().unwrap().iter().any(|finding| finding["level"] == level);
    if has("problem") { 1 } else { 3 * i32::from(has("warning")) }
}

/// Root's identity changed to nobody's; `None` where that cannot be.
fn as_nobody() -> Option<Vec<&'static str>> {
    let prefix = words("setpriv --reuid 65534 --regid 65534 --clear-groups");
    let tried = [&prefix[1..], &[SEQCAST, "--version"]].concat();
    match execute(prefix[0], &tried, "") {
        Ok(_) => Some(prefix),
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

// This host.

#[test]
fn this_host_is_examined_with_any_rights_and_the_worst_decides() {
    let place = Place::new("doctor-host");
    let line = place.line().to_string();
    let arguments = ["doctor", "--json", "--line-a", &line];
    let mut found = vec![place.seqcast(&arguments).run()];
    if let Some(prefix) = as_nobody() {
        let command = [&prefix[1..], &[SEQCAST], &arguments].concat();
        found.push(place.command(prefix[0], &command).run());
    }
    for ended in found {
        let found = ended.json();
        let ended = ended.expect_code(code(&found));
        assert_eq!(found["exit_code"], code(&found), "{}", ended.errors);
        for subject in ["receive buffer", "clock source", "locked memory", "MTU", "cores", "firewall"] {
            assert!(!levels(&found, subject).is_empty(), "{subject} in {found:#}");
        }
    }
}

#[test]
fn an_interface_that_is_not_there_is_a_problem_and_a_line_that_is_no_group_wrong_usage() {
    let place = Place::new("doctor-interface");
    let missing = place.seqcast(&["doctor", "--json", "--interface", "none-such0"]).run().expect_code(1).json();
    assert!(finding(&missing, "interface", "problem").0.contains("none-such0"));
    place.seqcast(&["doctor", "--max-datagram", "65508"]).run().expect_code(2);
    let ended = place.seqcast(&["doctor", "listen", "--interface", "none-such0"]).run().expect_code(2);
    assert!(ended.errors.contains("--interface or --line-a"), "{}", ended.errors);
    for (wrong, words) in [("10.1.0.5:30001", "not a multicast group"), ("232.1.1.1:30001", "only one direction")] {
        let ended = place.seqcast(&["doctor", "send", "--line-a", wrong]).run().expect_code(2);
        assert!(ended.errors.contains(words), "{}", ended.errors);
    }
}

#[test]
fn two_lines_on_loopback_pass_and_words_say_so() {
    let place = Place::new("doctor-loopback");
    let line = place.line();
    let (a, b) = (line.to_string(), format!("239.255.80.1:{}", line.port()));
    let lines = ["--line-a", &a, "--line-b", &b];
    let listener = place.seqcast(&["doctor", "listen", "--json"]).and(&lines).start();
    let sent = place.seqcast(&["doctor", "send"]).and(&lines).and(&BURST).run();
    let words = String::from_utf8(sent.output.clone()).unwrap();
    assert!(
        words.contains("passes from 127.0.0.1 to 127.0.0.1") && words.contains("0 of 2,000 packets lost"),
        "{words}"
    );
    let heard = listener.wait().json();
    let paths = heard["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 2);
    for path in paths {
        assert_eq!((number(path, "burst_sent"), number(path, "burst_arrived")), (2_000, 2_000));
        assert_eq!((number(path, "largest_multicast_bytes"), number(path, "ttl_arrived")), (1_472, 1));
        assert_eq!((&path["multicast_back"], &path["unicast_there"]), (&Value::Bool(true), &Value::Bool(true)));
    }
}

#[test]
fn nobody_on_the_other_side_is_told_after_the_time_that_was_set() {
    let place = Place::new("doctor-nobody");
    let line = place.line().to_string();
    for arguments in [["send", "--wait", "300ms"], ["listen", "--time", "300ms"]] {
        let ended = place.seqcast(&["doctor"]).and(&arguments).and(&["--line-a", &line]).run();
        // A firewall of this host that drops the group is a problem of its own.
        assert!(matches!(ended.status.code(), Some(1 | 4)) && ended.errors.contains("was heard"), "{}", ended.errors);
    }
}

#[test]
fn a_subscriber_that_is_bound_to_a_session_counts_probes_as_foreign() {
    let place = Place::new("doctor-foreign");
    let line = place.line().to_string();
    let mut subscriber = place.listen(&["--session", "EQ20261121", "--recover-from", "none"]).start();
    let listener = place.seqcast(&["doctor", "listen", "--line-a", &line]).start();
    place.seqcast(&["doctor", "send", "--line-a", &line]).and(&BURST).run();
    listener.wait();
    subscriber.signal(libc::SIGINT);
    let summary = subscriber.wait().json();
    assert!(number(&summary, "foreign") > 2_000, "{summary}");
    assert_eq!((number(&summary, "messages"), number(&summary, "malformed")), (0, 0));
}

// The network.

#[test]
fn a_good_network_is_well_its_querier_is_heard_and_nobody_sees_no_rules() {
    let Some(network) = Network::new("clean") else { return };
    let place = Place::new("doctor-clean");
    let [sent, heard] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(0).json());
    assert_eq!((ills(&sent), ills(&heard)), (vec![], vec![]));
    assert_eq!(sent["paths"], heard["paths"]);
    assert_eq!((levels(&heard, "full size"), levels(&heard, "TTL")), (vec!["ok"], vec!["ok"]));
    let listen = ["listen", "--json", "--time", "3s", "--line-a", &format!("{GROUP}@veth")];
    let asked = network.doctor(&place, "listener", &[], &listen).wait().expect_code(4).json();
    assert!(finding(&asked, "IGMP querier", "ok").0.ends_with("version 3"), "{asked:#}");
    let Some(prefix) = as_nobody() else { return };
    let unprivileged = network.doctor(&place, "listener", &prefix, &listen).wait().expect_code(4).json();
    for subject in ["firewall", "IGMP querier"] {
        let levels = levels(&unprivileged, subject);
        assert!(!levels.is_empty() && levels.iter().all(|level| *level == "unseen"), "{unprivileged:#}");
    }
}

#[test]
fn multicast_that_the_listener_drops_dies_there_only_and_the_rule_is_named() {
    let Some(network) = Network::new("there") else { return };
    let rules =
        "table inet filter { chain input { type filter hook input priority 0\n ip daddr 239.79.1.1 drop\n }\n }\n";
    network.nft("listener", rules).unwrap();
    let place = Place::new("doctor-there");
    let [sent, heard] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(1).json());
    let dies = format!("{GROUP} dies on the way from 10.79.1.1 to 10.79.1.2; unicast passes");
    assert_eq!((ills(&sent), ills(&heard)), (vec!["multicast there"], vec!["multicast there", "firewall"]));
    assert_eq!(
        (finding(&sent, "multicast there", "problem").0, finding(&heard, "multicast there", "problem").0),
        (&*dies, &*dies)
    );
    let (what, mend) = finding(&heard, "firewall", "problem");
    assert!(what.contains("chain inet filter input drops 239.79.1.1:30001 from veth"), "{what}");
    // The command mends it.
    network.nft("listener", &mend.replace("nft ", "")).unwrap();
    for ended in network.diagnose(&place, &[]) {
        ended.expect_code(0);
    }
}

#[test]
fn multicast_that_dies_on_the_way_back_only_is_told_from_the_other() {
    let Some(network) = Network::new("back") else { return };
    let rules =
        "table ip filter { chain input { type filter hook input priority 0\n ip daddr 239.79.1.1 drop\n }\n }\n";
    network.nft("sender", rules).unwrap();
    let place = Place::new("doctor-back");
    let [sent, heard] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(1).json());
    assert_eq!((ills(&sent), ills(&heard)), (vec!["multicast back"], vec!["multicast back"]));
    assert_eq!(number(&sent["paths"][0], "burst_arrived"), 2_000, "{sent:#}");
}

#[test]
fn where_no_multicast_passes_unicast_is_told_of_if_the_listener_is_named() {
    let Some(network) = Network::new("both") else { return };
    let rules =
        "table ip filter { chain input { type filter hook input priority 0\n ip daddr 239.79.1.1 drop\n }\n }\n";
    network.nft("sender", rules).unwrap();
    network.nft("listener", rules).unwrap();
    let place = Place::new("doctor-both");
    let [sent, heard] = network.diagnose(&place, &["--to", "10.79.1.2"]).map(|ended| ended.expect_code(1).json());
    assert_eq!(ills(&sent), ["multicast there", "multicast back"]);
    assert_eq!(ills(&heard), ["multicast there", "multicast back", "firewall"]);
}

#[test]
fn packets_that_the_host_itself_refuses_to_send_are_told_of() {
    let Some(network) = Network::new("output") else { return };
    let rules = "table ip filter { chain out { type filter hook output priority 0\n ip daddr 239.79.1.1 drop\n }\n }\n";
    network.nft("sender", rules).unwrap();
    let place = Place::new("doctor-output");
    let [sent, _] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(1).json());
    assert_eq!(ills(&sent), ["multicast there", "firewall", "sending"]);
    assert!(finding(&sent, "firewall", "problem").0.contains("to veth"), "{sent:#}");
}

#[test]
fn a_small_mtu_in_the_middle_is_measured() {
    let Some(network) = Network::new("mtu") else { return };
    network.ip(&format!("-n {} link set sender mtu 1200", network.space("switch"))).unwrap();
    let place = Place::new("doctor-mtu");
    let [sent, heard] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(1).json());
    assert_eq!((ills(&sent), ills(&heard)), (vec!["full size"], vec!["full size"]));
    // A veth pair takes the four bytes of a VLAN's tag beyond its MTU.
    let largest = number(&sent["paths"][0], "largest_multicast_bytes");
    assert!((1_200 - 28..=1_200 - 28 + 4).contains(&largest), "{largest}");
    assert!(finding(&sent, "full size", "problem").1.contains(&format!("--max-datagram {largest}")));
    assert_eq!(number(&sent["paths"][0], "burst_arrived"), 2_000, "the burst is of the size that passes");
}

#[test]
fn one_packet_in_a_hundred_that_is_dropped_is_counted() {
    let Some(network) = Network::new("loss") else { return };
    // Packets of full size only, each hundredth of them.
    let rules = "table bridge filter { chain forward { type filter hook forward priority 0\n \
                 udp length 1480 numgen inc mod 100 0 drop\n }\n }\n";
    if let Err(reason) = network.nft("switch", rules) {
        return skip(&reason);
    }
    let place = Place::new("doctor-loss");
    let [sent, heard] = network.diagnose(&place, &[]).map(|ended| ended.expect_code(3).json());
    assert_eq!((ills(&sent), ills(&heard)), (vec!["burst"], vec!["burst"]));
    let lost = number(&sent["paths"][0], "burst_sent") - number(&sent["paths"][0], "burst_arrived");
    assert!((19..=21).contains(&lost), "{lost}");
    assert!(finding(&heard, "burst", "warning").0.starts_with(&format!("{lost} of 2,000 packets lost (")));
}
