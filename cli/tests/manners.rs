//! What people expect of a command: its log as text and JSON, colours only where they belong, completions, its version.

#![expect(unsafe_code, reason = "the standard library makes no pseudo-terminal")]
#![expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]

mod support;

use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Place, number};

const SEQCAST: &str = env!("CARGO_BIN_EXE_seqcast");

/// What begins a colour, and the end of one (ECMA-48).
const COLORS: [&str; 2] = ["\x1b[31m", "\x1b[0m"];

/// A subscriber that lost messages and heard the end; what it said.
fn lose(name: &str, options: &[&str]) -> String {
    let place = Place::new(name);
    let input = place.generate("in", 2_000, 1);
    let lossy = ["--until-end", "--gap", "skip", "--impair", "loss=50%,seed=3"];
    let mut subscriber = place.listen(&lossy).and(&["--recover-from", "none"]).and(options).start();
    support::wait_for("the subscriber", || {
        assert!(!subscriber.has_ended(), "{}", subscriber.errors());
        support::is_bound(place.line()).then_some(())
    });
    // Two messages to a packet.
    let publish = place.publish(&input, &["--pace", "20000/s", "--linger", "1s", "--session", "DAY"]);
    publish.and(&["--max-datagram", "100"]).run().expect_code(0);
    subscriber.wait().expect_code(3).errors
}

#[test]
fn each_change_of_state_is_an_object_with_its_time_and_what_it_is_about() {
    let errors = lose("log-json", &["--log", "info", "--log-format", "json"]);
    let events: Vec<Value> = errors.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |words: &str| {
        let told = |event: &&Value| event["message"].as_str().unwrap().contains(words);
        events.iter().find(told).unwrap_or_else(|| panic!("{words:?} in {errors}"))
    };
    for event in &events {
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z') && event["level"].is_string(), "{event}");
    }
    let opened = of("line A comes from");
    assert_eq!((&opened["level"], &opened["line"], &opened["interface"]), (&"info".into(), &"A".into(), &"lo".into()));
    assert!(number(opened, "receive_buffer_bytes") > 0);
    assert_eq!(of("is heard")["session"], "DAY");
    let lost = of("lost ");
    assert_eq!((&lost["level"], &lost["session"]), (&"warn".into(), &"DAY".into()));
    assert_eq!(lost["cause"], "skipped");
    assert!(number(lost, "first") < number(lost, "end"));
    assert_eq!(number(of("has ended at"), "end"), 2_001);
    assert_eq!(of("messages lost in")["level"], "error");
}

#[test]
fn losses_are_told_ten_a_second_and_the_others_counted() {
    let errors = lose("log-losses", &[]);
    let lost = errors.lines().filter_map(|line| line.strip_prefix("seqcast: warning: lost "));
    let (counts, told): (Vec<_>, Vec<_>) = lost.partition(|words| words.contains(" more, too many"));
    let left_out: usize = counts.iter().map(|words| words.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    let in_all = errors.lines().find_map(|line| line.strip_suffix(" ranges")?.rsplit_once(" in ")).expect(&errors).1;
    assert!(left_out > 100 && told.len() < 100, "{errors}");
    assert_eq!((told.len() + left_out).to_string(), in_all, "{errors}");
}

#[test]
fn nothing_is_said_twice_and_little_unless_asked_for() {
    let options: [(_, &[&str]); 3] =
        [("log-error", &["--log", "error"]), ("log-usual", &[]), ("log-info", &["--log", "info"])];
    let [silent, usual, more] = options.map(|(name, options)| lose(name, options));
    assert_eq!(silent.lines().filter(|line| !line.starts_with("seqcast: ")).count(), 0, "{silent}");
    for (said, libraries) in [(usual, false), (more, true)] {
        assert_eq!(said.matches("session DAY is heard").count(), 1, "{said}");
        assert_eq!(said.matches("session DAY has ended at 2001").count(), 1, "{said}");
        assert_eq!(said.contains("line A comes from"), libraries, "{said}");
    }
}

#[test]
fn a_client_that_is_refused_is_told_of_once() {
    let place = Place::new("log-refused");
    let input = place.generate("in", 2_000, 1);
    let subscriber = place.subscribe(&["--until-end", "--impair", "loss=50%,seed=3", "--gap", "wait:300ms"]).start();
    support::wait_for("the subscriber", || support::is_bound(place.line()).then_some(()));
    let refusing = ["--allow-requests", "10.0.0.0/8", "--pace", "20000/s", "--linger", "2s", "--log", "info"];
    let published = place.publish(&input, &refusing).run().expect_code(0);
    subscriber.wait().expect_code(3);
    assert!(number(&published.json()["requests_refused"], "network") > 1);
    assert_eq!(published.errors.matches("is refused: network").count(), 1, "{}", published.errors);
}

#[test]
fn a_ring_that_is_replaced_is_told_of() {
    let place = Place::new("log-ring");
    let (input, ring) = (place.generate("in", 100, 1), place.path("ring"));
    let publish = |session| {
        let ended = ["--line-a", "none", "--linger", "100ms", "--session", session];
        let words = place.seqcast(&["publish", "--requests", "none"]).and(&ended).with("--ring", &ring);
        words.with("--input", &input).run().expect_code(0);
    };
    publish("ONE");
    let line = format!("ring:{}", ring.display());
    let mut subscriber =
        place.seqcast(&["subscribe", "--recover-from", "none", "--log", "info", "--line-a", &line]).start();
    subscriber.wait_for_words("session ONE has ended at 101");
    publish("TWO");
    subscriber.wait_for_words("session TWO has ended at 101");
    let errors = subscriber.errors();
    for words in ["is open: session ONE", "of session ONE is gone or was replaced", "is open: session TWO"] {
        assert_eq!(errors.matches(words).count(), 1, "{words}: {errors}");
    }
}

/// A pseudo-terminal: the side that reads, and the one that a command has for its own.
fn terminal() -> (File, OwnedFd) {
    let (mut reader, mut own) = (-1, -1);
    let (name, settings, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: the descriptors are written to variables that outlive the call; null asks for defaults.
    let made = unsafe { libc::openpty(&raw mut reader, &raw mut own, name, settings, size) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call made it, and nobody else owns it.
    let reader = unsafe { File::from_raw_fd(reader) };
    // SAFETY: as above.
    let own = unsafe { OwnedFd::from_raw_fd(own) };
    (reader, own)
}

fn command(arguments: &[&str], no_color: Option<&str>) -> Command {
    let mut command = Command::new(SEQCAST);
    command.args(arguments).env("TERM", "xterm").env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
    command.envs(no_color.map(|value| ("NO_COLOR", value))).stdin(Stdio::null());
    command
}

/// All that a command says on a terminal.
fn on_terminal(arguments: &[&str], no_color: Option<&str>) -> String {
    let (mut reader, own) = terminal();
    let mut command = command(arguments, no_color);
    command.stdout(own.try_clone().unwrap()).stderr(own);
    let mut child = command.spawn().unwrap();
    // What is left of this side of the terminal is closed, so that its other side ends with the command.
    drop(command);
    let (mut said, mut bytes) = (Vec::new(), [0; 4_096]);
    // The end is an error here (EIO).
    while let Ok(count @ 1..) = reader.read(&mut bytes) {
        said.extend(&bytes[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}

/// Whether there is a sequence that sets colours or weight, or resets them: one that ends with `m`.
fn is_colored(said: &str) -> bool {
    said.split("\x1b[")
        .skip(1)
        .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

#[test]
fn colors_are_for_terminals_and_for_nobody_who_wants_none() {
    let failing = ["publish", "--input", "/nonexistent"];
    for arguments in [&failing[..], &["--nonsense"], &["--help"]] {
        assert!(is_colored(&on_terminal(arguments, None)), "{arguments:?}");
        assert!(
            is_colored(&on_terminal(arguments, Some(""))),
            "{arguments:?}: NO_COLOR counts only if it is not empty"
        );
        let wanted = on_terminal(arguments, Some("1"));
        assert!(!is_colored(&wanted) && !wanted.is_empty(), "{wanted}");
        let output = command(arguments, None).output().unwrap();
        let piped = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!is_colored(&piped) && !piped.is_empty(), "{piped}");
    }
    let said = on_terminal(&failing, None);
    assert!(COLORS.iter().all(|color| said.contains(color)), "{said:?}");
}

#[test]
fn the_line_of_progress_has_no_colors_and_makes_room_for_the_log() {
    let messages = ["generate", "--messages", "20000000", "--output", "/nonexistent/out"];
    assert!(!on_terminal(&messages, Some("1")).contains("\x1b[K"), "nothing has begun");
    let place = Place::new("progress");
    let input = place.generate("in", 20_000, 1);
    let (line, requests) = (place.line().to_string(), place.requests().to_string());
    let publish =
        ["publish", "--line-a", &line, "--requests", &requests, "--linger", "0s", "--pace", "20000/s", "--input"];
    let said = on_terminal(&[&publish[..], &[input.to_str().unwrap()]].concat(), None);
    assert!(said.contains("messages/s, next ") && !is_colored(&said), "{said:?}");
    // Between the line and the summary stands what removes the line.
    let (before, _) = said.split_once(": 20,000 messages published").expect(&said);
    assert!(before.rsplit_once("session ").unwrap().0.ends_with("\r\x1b[K"), "{said:?}");
}

#[test]
fn bash_completes_subcommands_options_and_values() {
    let Ok(output) = Command::new("bash").arg("--version").output() else {
        println!("skipped: there is no bash");
        return;
    };
    assert!(output.status.success());
    let complete = |words: &str| {
        let script = format!(
            "source <({SEQCAST} completions bash) && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) &&
             _seqcast seqcast \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\" && echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("seqcast sub"), "subscribe");
    assert_eq!(complete("seqcast publish --line-"), "--line-a --line-b");
    assert_eq!(complete("seqcast subscribe --log-format ''"), "text json");
    assert_eq!(complete("seqcast doctor li"), "listen");
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = command(&["completions", shell], None).output().unwrap();
        assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("retransmit"), "{shell}");
    }
}

/// The build script, to be run anywhere.
struct BuildScript<'a> {
    place: &'a Place,
}

impl BuildScript<'_> {
    fn compile(place: &Place) -> BuildScript<'_> {
        let mut rustc = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()));
        rustc.args(["--edition", "2024", "-o"]).arg(place.path("build"));
        assert!(rustc.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs")).status().unwrap().success());
        BuildScript { place }
    }

    /// Runs it for the crate in this directory: its commit, and what it asks to be watched.
    fn run(&self, directory: &Path) -> (String, Vec<String>) {
        let mut script = Command::new(self.place.path("build"));
        script.current_dir(directory).env("RUSTC", "/nonexistent").env("TARGET", "some-target");
        let output = script.env_remove("GIT_DIR").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let after = |key: &'static str| text.lines().filter_map(move |line| line.strip_prefix(key));
        let commit = after("cargo::rustc-env=SEQCAST_COMMIT=").next().unwrap().to_owned();
        (commit, after("cargo::rerun-if-changed=").map(ToOwned::to_owned).collect())
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]);
    let output = git.args(arguments).current_dir(directory).env_remove("GIT_DIR").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_version_names_the_commit_only_where_it_is_ours() {
    if Command::new("git").arg("--version").output().is_err() {
        println!("skipped: there is no git");
        return;
    }
    let place = Place::new("version");
    let script = BuildScript::compile(&place);
    let repository = place.path("repository");
    for file in ["cli/src/main.rs", "cli/Cargo.toml", "cli/build.rs", "README.md", "Cargo.toml", "Cargo.lock"] {
        fs::create_dir_all(repository.join(file).parent().unwrap()).unwrap();
        fs::write(repository.join(file), "1").unwrap();
    }
    let cli = repository.join("cli");
    // Beneath the build directory there is a repository, that of this project: its commit is none of theirs.
    assert_eq!(script.run(&cli).0, "", "no repository, as in an archive");
    git(&repository, &["init", "--quiet"]);
    assert_eq!(script.run(&cli).0, "", "a repository without a commit");
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "--message", "first"]);
    let first = git(&repository, &["rev-parse", "--short=12", "HEAD"]);
    let (commit, watched) = script.run(&cli);
    assert_eq!(commit, format!(" ({first})"));
    for file in &watched {
        assert!(cli.join(file).exists(), "{file} is absent: every build would look");
    }
    assert!(watched.iter().any(|file| file.ends_with("cli/src")), "{watched:?}");

    fs::write(repository.join("README.md"), "2").unwrap();
    assert_eq!(script.run(&cli).0, format!(" ({first})"), "nothing that is built differs");
    fs::write(cli.join("src/main.rs"), "2").unwrap();
    assert_eq!(script.run(&cli).0, format!(" ({first}, modified)"));

    // Whatever moves HEAD changes something that is watched.
    let contents = || watched.iter().map(|file| fs::read(cli.join(file)).unwrap_or_default()).collect::<Vec<_>>();
    for arguments in [&["commit", "--quiet", "--all", "--message", "second"][..], &["checkout", "--quiet", "HEAD~"]] {
        let before = contents();
        git(&repository, arguments);
        assert!(contents() != before, "{arguments:?}");
    }
    let vendored = repository.join("vendor/seqcast");
    fs::create_dir_all(vendored.join("src")).unwrap();
    assert_eq!(script.run(&vendored).0, "", "unpacked into the repository of somebody else");
}

#[test]
fn the_short_version_is_one_word_and_the_long_one_says_how_it_was_built() {
    let said = |arguments: &[&str]| String::from_utf8(command(arguments, None).output().unwrap().stdout).unwrap();
    assert_eq!(said(&["-V"]), format!("seqcast {}\n", env!("CARGO_PKG_VERSION")));
    let long = said(&["--version"]);
    let lines: Vec<_> = long.lines().collect();
    assert!(lines[0].starts_with(&format!("seqcast {}", env!("CARGO_PKG_VERSION"))), "{long}");
    assert!(lines[1].starts_with("rustc 1.") && lines[2].contains("-linux-"), "{long}");
}
