//! Configurations with the real command: checked, shown, run; the same tables read by the libraries; hostile files.

mod support;

use clap::{Args, Command};
use seqcast::config::{Commands, Configured};
use seqcast::{publish, retransmit, subscribe};
use seqcast_publisher::{Publisher, PublisherBuilder, PublisherConfig};
use seqcast_recovery::{GapPolicy, Line, Nanos, Random, RewindPolicy, Start};
use seqcast_subscriber::{Event, SessionChoice, Subscriber, SubscriberBuilder, SubscriberConfig};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::{Place, assert_same, is_bound, wait_for};

fn commands() -> Commands {
    let root = Command::new("seqcast")
        .subcommand(Configured::<publish::Options>::augment_args(Command::new("publish")))
        .subcommand(Configured::<subscribe::Options>::augment_args(Command::new("subscribe")))
        .subcommand(Configured::<retransmit::Options>::augment_args(Command::new("retransmit")));
    Commands::new(root)
}

/// `seqcast ARGUMENTS FILE`: what it prints, or what it says is wrong, without the name of the file.
fn answer(place: &Place, arguments: &[&str], file: &Path) -> Result<String, String> {
    let ended = place.seqcast(arguments).and(&[file.to_str().unwrap()]).run();
    if ended.status.success() {
        return Ok(String::from_utf8(ended.output).unwrap());
    }
    let words = ended.expect_code(2).errors;
    Err(words.replace(file.to_str().unwrap(), "FILE"))
}

// Check and show.

#[test]
fn every_problem_has_its_line_its_key_and_what_is_allowed() {
    let place = Place::new("problems");
    let corpus = corpus();
    let problems = |name: &str| answer(&place, &["config", "check"], &place.write(name, &corpus[name])).unwrap_err();
    assert_eq!(
        problems("wrong_values"),
        "seqcast: FILE cannot be used:
FILE:2: publish.a.ttl: cannot be \"300\": 300 is not in 0..=255; allowed: N
FILE:3: publish.a.retain: cannot be \"5x\": '5x' is not a size in bytes such as 64MiB, 1GB or 4096; allowed: BYTES
FILE:4: publish.a.json: takes true or false
FILE:5: publish.a.no-segmentation: takes true or false
FILE:6: publish.a.format: cannot be \"block\"; allowed: blocks, lines, pcap
FILE:7: publish.a.input: takes one value, not a list
FILE:8: publish.a.pace: not a string, a whole number, true or false, or a list of strings and numbers
FILE:9: publish.a.linger: not a string, a whole number, true or false, or a list of strings and numbers
FILE:10: publish.a.requests: takes a value, ADDRESS:PORT|none
FILE:11: publish.a.line-a: cannot be \"239.1.1.1\": `239.1.1.1` has no port; expected GROUP:PORT[@INTERFACE], such as \
         239.255.77.1:30001, or unicast ADDRESS:PORT; allowed: \
         GROUP:PORT[@INTERFACE]|ADDRESS:PORT,...[@INTERFACE]|none
FILE:14: subscribe.a.recover-from: an empty list; without the key the default holds
FILE:15: subscribe.a.impair: cannot be \"loss=200%\": 'loss' cannot be '200%': it is 0% to 100%, or a fraction from 0 to \
         1; allowed: [a:|b:|answers:]IMPAIRMENT
FILE:16: subscribe.a.idle: not a string, a whole number, true or false, or a list of strings and numbers
FILE:17: subscribe.a.start: cannot be \"-1\": '-1' is not oldest, live, or a number from 1 on; allowed: oldest|live|N
"
    );
    for (name, words) in [
        ("unknown_options", "FILE:2: publish.a.retian: publish has no such option; did you mean retain?\n"),
        ("unknown_options", "FILE:7: publish.a.xyzzy: publish has no such option; it has input, format, pace, "),
        ("unknown_command", "FILE:1: listen: no such command; the tables are [publish.NAME], [subscribe.NAME], "),
        ("key_in_both_tables", "FILE:4: publish.a.command.ttl: stands in [publish.a] as well\n"),
        ("feed_is_no_table", "FILE:2: publish.ttl: options stand in a table with the name of a feed, [publish.NAME]\n"),
        ("name_of_a_feed", "FILE:1: publish.a b: the name of a feed has letters, digits, - and _\n"),
        ("cut_string", "FILE:2: invalid basic string"),
        ("key_twice", "FILE:3: duplicate key\n"),
        ("cut_utf8", "FILE:2: not UTF-8"),
        ("empty", "FILE: no feeds\n"),
        ("many_feeds", "FILE:257: publish.f256: more than 256 feeds\n"),
    ] {
        let found = problems(name);
        assert!(found.contains(words), "{name}: {found}");
    }
    assert_eq!(problems("many_problems").lines().count(), 1 + 64);
}

#[test]
fn the_example_is_right_and_is_shown_as_it_is_read() {
    let place = Place::new("example");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/day.toml");
    let checked = answer(&place, &["config", "check"], &example).unwrap();
    let expected =
        format!("{}: ok: publish.quotes, subscribe.quotes, publish.trades, subscribe.trades\n", example.display());
    assert_eq!(checked, expected);
    let shown = answer(&place, &["config", "show"], &example).unwrap();
    let again = place.write("again.toml", shown.as_bytes());
    assert_eq!(answer(&place, &["config", "show"], &again).unwrap(), shown);
    for line in [
        "[publish.quotes]",
        "retain = \"256MiB\"",
        "pace = \"recorded*10\"",
        "client-limit = 1024",
        "idle = \"backoff\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
    }
    let one = answer(&place, &["config", "show", "--feed", "trades"], &example).unwrap();
    assert!(shown.ends_with(&one) && one.starts_with("[publish.trades]\n"), "{one}");
    let none = answer(&place, &["config", "show", "--feed", "nothing"], &example).unwrap_err();
    assert!(none.contains("no such feed; there are publish.quotes, "), "{none}");
}

#[test]
fn what_is_no_configuration_is_refused_in_bounded_memory() {
    let place = Place::new("bounded");
    for (file, words) in [
        (Path::new("/dev/zero").to_owned(), "larger than 1048576 bytes"),
        (place.write("large.toml", &b"# \n".repeat(4 << 20)), "larger than 1048576 bytes"),
        (place.write("deep.toml", &[&b"a = "[..], &[b'['; 1 << 19]].concat()), ":1: cannot recurse further"),
        (place.write("keys.toml", &[&b"a.".repeat(1 << 18)[..], b"a = 1"].concat()), ":1: recursion limit"),
        (place.write("binary.toml", &corpus()["binary"]), ":"),
        (place.path("absent.toml"), "No such file"),
        (place.path(""), "Is a directory"),
    ] {
        // 64 times the largest file.
        let words_of_shell = "ulimit -v 262144; exec \"$0\" config check \"$1\"";
        let arguments = ["-c", words_of_shell, env!("CARGO_BIN_EXE_seqcast"), file.to_str().unwrap()];
        let ended = place.command("sh", &arguments).run().expect_code(2);
        assert!(ended.errors.contains(words), "{}: {}", file.display(), ended.errors);
    }
}

// Running what a file says.

/// A file with a publisher and a subscriber of this place, as `seqcast run` takes it.
fn both(place: &Place, input: &Path, publish: &str, subscribe: &str) -> std::path::PathBuf {
    let (line, requests) = (place.line(), place.requests());
    let text = format!(
        "[publish.day]\ninput = {input:?}\nline-a = \"{line}\"\nrequests = \"{requests}\"\nlinger = \"50s\"\n{publish}\n
         [subscribe.day]\nline-a = \"{line}\"\nrecover-from = \"{requests}\"\nuntil-end = true\n{subscribe}\n"
    );
    place.write("day.toml", text.as_bytes())
}

#[test]
fn options_of_the_command_line_win_over_those_of_the_file() {
    let place = Place::new("winner");
    let input = place.generate("in", 10, 1);
    let text = "json = true\nsession = \"FILE\"\npace = \"1/s\"\n[publish.night]";
    let file = both(&place, &input, text, "");
    let file = file.to_str().unwrap();
    let arguments = ["publish", "--session", "LINE", "--config", file, "--feed=day", "--pace=max", "--linger", "0s"];
    let published = place.seqcast(&arguments).run().expect_code(0).json();
    assert_eq!((&published["session"], &published["messages"]), (&"LINE".into(), &10.into()));
    for (arguments, words) in [
        (&["publish"][..], "there are several feeds to publish; choose with --feed: day, night"),
        (&["publish", "--feed", "noon"], "there is no [publish.noon]; choose with --feed: day, night"),
        (&["retransmit"], "there is no table [retransmit.NAME]"),
        (&["publish", "--feed", "day", "--resume"], "--ring <FILE>"),
        (&["publish", "--feed", "night"], "--input <FILE|->"),
        (&["publish", "--feed", "day", "--no-such"], "'--no-such'"),
        (&["doctor"], "'--config'"),
    ] {
        let ended = place.seqcast(arguments).and(&["--config", file]).run().expect_code(2);
        assert!(ended.errors.contains(words), "{arguments:?}: {}", ended.errors);
    }
    let ended = place.seqcast(&["publish", "--feed", "day"]).run().expect_code(2);
    assert!(ended.errors.contains("--config <FILE>"), "{}", ended.errors);
    place.seqcast(&["publish", "--config", file, "--help"]).run().expect_code(0);
}

#[test]
fn all_feeds_of_a_file_run_together() {
    let place = Place::new("together");
    let (input, output) = (place.generate("in", 20_000, 1), place.path("out"));
    let file = both(&place, &input, "", &format!("output = {output:?}"));
    place.seqcast(&["run", file.to_str().unwrap()]).run().expect_code(0);
    assert_same(&fs::read(&output).unwrap(), &fs::read(&input).unwrap());
}

#[test]
fn a_feed_that_fails_stops_no_other_and_decides_the_exit_code() {
    let place = Place::new("failing");
    let (input, output) = (place.generate("in", 1_000, 1), place.path("out"));
    let quiet = format!(
        "output = {output:?}\n[subscribe.quiet]\nsession = \"NOBODY\"\nline-a = \"{}\"\nsilent-after = \"10ms\"",
        place.line()
    );
    let file = both(&place, &input, "", &quiet);
    let ended = place.seqcast(&["run", file.to_str().unwrap()]).run().expect_code(4);
    assert!(ended.errors.contains("seqcast: subscribe.quiet ended with exit code 4\n"), "{}", ended.errors);
    assert_same(&fs::read(&output).unwrap(), &fs::read(&input).unwrap());
}

#[test]
fn nothing_runs_when_a_feed_lacks_something() {
    let place = Place::new("lacking");
    let file = place.write("day.toml", b"[subscribe.a]\n[publish.b]\n");
    let ended = place.seqcast(&["run", file.to_str().unwrap()]).run().expect_code(2);
    assert!(ended.errors.ends_with("day.toml: publish.b needs --input <FILE|->\n"), "{}", ended.errors);
    let checked = answer(&place, &["config", "check"], &file).unwrap();
    assert!(checked.ends_with("publish.b needs, on the command line: --input <FILE|->\n"), "{checked}");
}

#[test]
fn feeds_end_with_the_signal_that_ends_their_parent() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let place = Place::new(&format!("signal{signal}"));
        // Without a subscriber, whose requests would look as if the publisher were there.
        let text = format!(
            "[publish.day]\ninput = \"-\"\nline-a = \"{}\"\nrequests = \"{}\"\n
             [retransmit.day]\nring = \"/dev/shm/seqcast-absent\"\n",
            place.line(),
            place.requests()
        );
        let file = place.write("day.toml", text.as_bytes());
        let mut run = place.seqcast(&["run", file.to_str().unwrap()]).with_input_pipe().start();
        let input = run.take_input();
        run.wait_for_words("waiting for /dev/shm/seqcast-absent");
        wait_for("the publisher", || is_bound(place.requests()).then_some(()));
        run.signal(signal);
        wait_for("its end", || (!is_bound(place.requests())).then_some(()));
        let ended = run.wait();
        assert_eq!(ended.status.code(), (signal != libc::SIGKILL).then_some(0), "{}", ended.errors);
        drop(input);
    }
}

// The same table for the libraries.

const PUBLISH: &str = r#"
[publish.day]
session = "EQ"
line-a = "239.1.1.1:30001@eth1"
line-b = "239.1.2.1:30001@eth2"
interface = "127.0.0.2"
ttl = 4
requests = "10.1.0.5:30100"
allow-requests = ["10.0.0.0/8", "192.168.7.0/24"]
repair-budget = "10MB/s,burst=64KiB"
client-budget = "1MiB/s"
answer-linger = "1ms"
client-limit = 7
answer-core = 2
answer-priority = 5
keep-warm = "100us"
retain = "256MiB"
ring = "/dev/shm/day"
max-datagram = 8972
no-segmentation = true
linger = "2s"

[publish.day.command]
input = "day.pcap"
pace = "max"
json = true
"#;

const SUBSCRIBE: &str = r#"
[subscribe.day]
session = "EQ"
line-a = "239.1.1.1:30001@eth1,source=10.1.0.5"
line-b = "ring:/dev/shm/day"
interface = "127.0.0.2"
recover-from = ["10.1.0.5:30100", "10.1.0.6:30100"]
start = 7
gap = "wait:2s"
rewind = "stop"
silent-after = "5s"
keep-warm = "100us"
busy-poll = "50us"
no-coalescing = true
receive-times = true
compare-copies = true
impair = ["a:loss=1%", "answers:loss=2%,seed=3"]

[subscribe.day.command]
output = "-"
format = "json"
core = 3
"#;

/// The feed of a file as a program reads it.
fn read<T: DeserializeOwned>(command: &str, text: &str) -> Result<T, toml::de::Error> {
    let mut file: BTreeMap<String, BTreeMap<String, T>> = toml::from_str(text)?;
    Ok(file.remove(command).unwrap().remove("day").unwrap())
}

/// The names that a structure has, as its error for another name says them.
fn names<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("xyzzy = 1").err().unwrap().message().to_owned();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Every name that the structure has is in the feed, is an option of the command, and is written as the command shows it.
fn assert_in_step<T: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(command: &str, text: &str) {
    let config: T = read(command, text).unwrap();
    let written = toml::Table::try_from(&config).unwrap();
    assert_eq!(toml::from_str::<T>(&written.to_string()).unwrap(), config, "read back");
    let commands = commands();
    let feeds = commands.read(text.as_bytes()).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let shown: toml::Table = commands.show(&feeds[0]).parse().unwrap();
    let shown = shown[command]["day"].as_table().unwrap();
    let names: Vec<_> = names::<T>().into_iter().filter(|name| name != "command").collect();
    assert_eq!(names.len(), written.len(), "{written}");
    for name in names {
        let plain = |value: &toml::Value| value.to_string().replace('"', "");
        assert_eq!(plain(&written[&name]), plain(&shown[&name]), "{name}");
    }
}

#[test]
fn the_libraries_read_the_tables_of_the_command() {
    assert_in_step::<PublisherConfig>("publish", PUBLISH);
    assert_in_step::<SubscriberConfig>("subscribe", SUBSCRIBE);
    let unknown = read::<PublisherConfig>("publish", &PUBLISH.replace("retain", "retian")).unwrap_err();
    assert!(unknown.message().starts_with("unknown field `retian`"), "{unknown}");
    let wrong = read::<SubscriberConfig>("subscribe", &SUBSCRIBE.replace("wait:2s", "wait:2")).unwrap_err();
    assert!(wrong.message().contains("'wait:2' is not wait, wait:DURATION"), "{wrong}");
    let list = read::<PublisherConfig>("publish", "[publish.day]\nttl = [1]\n").unwrap_err();
    assert!(list.message().contains("a string or a whole number"), "{list}");
    let text = "[subscribe.day]\nrecover-from = \"none\"\nstart = \"9\"\nimpair = \"loss=1%\"\n";
    let config: SubscriberConfig = read("subscribe", text).unwrap();
    assert_eq!((config.recover_from.len(), config.start, config.impair.len()), (0, Some(Start::At(9)), 1));
    let config: PublisherConfig = read("publish", "[publish.day]\nline-a = \"none\"\nrequests = \"none\"\n").unwrap();
    assert_eq!((config.line_a, config.requests), (None, None));
}

#[test]
fn a_builder_from_a_configuration_is_as_one_that_was_told() {
    let config: PublisherConfig = read("publish", PUBLISH).unwrap();
    let told = Publisher::builder("EQ".parse().unwrap())
        .line(Line::A, "239.1.1.1:30001@eth1".parse().unwrap())
        .line(Line::B, "239.1.2.1:30001@eth2".parse().unwrap())
        .interface("127.0.0.2")
        .ttl(4)
        .requests("10.1.0.5:30100".parse().unwrap())
        .allow_requests("10.0.0.0/8".parse().unwrap())
        .allow_requests("192.168.7.0/24".parse().unwrap())
        .repair_budget("10MB/s,burst=64KiB".parse().unwrap())
        .client_budget("1MiB/s".parse().unwrap())
        .answer_linger(Duration::from_millis(1))
        .client_limit(7)
        .retransmitter_core(2)
        .retransmitter_priority(5)
        .keep_warm(Duration::from_micros(100))
        .retain_bytes(256 << 20)
        .ring("/dev/shm/day")
        .max_datagram(8_972)
        .segmentation(false)
        .linger(Duration::from_secs(2));
    assert_eq!(format!("{:?}", PublisherBuilder::from_config(&config).unwrap()), format!("{told:?}"));
    let config: SubscriberConfig = read("subscribe", SUBSCRIBE).unwrap();
    let told = Subscriber::builder(SessionChoice::Only("EQ".parse().unwrap()))
        .line(Line::A, "239.1.1.1:30001@eth1,source=10.1.0.5".parse().unwrap())
        .line(Line::B, "ring:/dev/shm/day".parse().unwrap())
        .interface("127.0.0.2")
        .recover_from("10.1.0.5:30100".parse().unwrap())
        .recover_from("10.1.0.6:30100".parse().unwrap())
        .start(Start::At(7))
        .gap_policy(GapPolicy::Wait { give_up: Nanos::from_secs(2) })
        .rewind_policy(RewindPolicy::Stop)
        .silent_after(Duration::from_secs(5))
        .keep_warm(Duration::from_micros(100))
        .busy_poll(Duration::from_micros(50))
        .coalescing(false)
        .receive_times(true)
        .compare_copies(true)
        .impair_line(Line::A, "loss=1%".parse().unwrap())
        .impair_answers("loss=2%,seed=3".parse().unwrap());
    assert_eq!(format!("{:?}", SubscriberBuilder::from_config(&config)), format!("{told:?}"));
}

#[test]
fn a_program_takes_the_place_of_either_command() {
    let place = Place::new("program");
    let file = both(&place, &place.generate("in", 10, 1), "", "").to_str().unwrap().to_owned();
    let text = fs::read_to_string(&file).unwrap().replace("input = ", "command.input = ");
    let text = text.replace("until-end = ", "command.until-end = ");
    let publisher: PublisherConfig = read("publish", &text[..text.find("[subscribe").unwrap()]).unwrap();
    let subscriber: SubscriberConfig = read("subscribe", &text[text.find("[subscribe").unwrap()..]).unwrap();
    let mut publisher = PublisherBuilder::from_config(&publisher).unwrap().open().unwrap();
    let mut subscriber = SubscriberBuilder::from_config(&subscriber).open().unwrap();
    publisher.publish(b"hello").unwrap();
    let _ = publisher.flush().unwrap();
    wait_for("the message", || {
        let mut heard = None;
        subscriber.poll(
            |event| {
                if let Event::Message(message) = event {
                    heard = Some(message.payload.to_vec());
                }
            },
            64,
        );
        heard.filter(|payload| payload == b"hello")
    });
}

// Hostile files.

/// The files of the fuzz target's corpus, by their names.
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/configurations");
    let files = directory.read_dir().unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    files.collect()
}

#[test]
fn changed_configurations_neither_panic_nor_are_shown_as_something_else() {
    let (commands, mut random) = (commands(), Random::new(5));
    let read = |bytes: &[u8]| match commands.read(bytes) {
        Ok(feeds) => feeds.iter().for_each(|feed| {
            let shown = commands.show(feed);
            let again = commands.read(shown.as_bytes()).unwrap_or_else(|problems| panic!("{}: {shown}", problems[0]));
            assert_eq!(commands.show(&again[0]), shown);
            assert_eq!(commands.needs(&again[0]), commands.needs(feed));
        }),
        Err(problems) => {
            let last_line = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=64).contains(&problems.len()), "{problems:?}");
            assert!(problems.iter().all(|problem| (1..=last_line).contains(&problem.line)), "{problems:?}");
        }
    };
    for (_, bytes) in corpus() {
        read(&bytes);
        for _ in 0..bytes.len().min(10) {
            let mut changed = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(changed.len() as u64) as usize;
                changed[at] = b"\"'[]{}.,=#\n\\ 0a\xFF"[random.below(16) as usize];
            }
            changed.truncate(changed.len() - random.below(1 + changed.len() as u64 / 4) as usize);
            read(&changed);
        }
    }
}
