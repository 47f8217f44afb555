//! The files that set a host up: `scripts/tune.sh` on a made-up host, and the systemd units where systemd can check them.

#![expect(clippy::print_stdout, reason = "cargo test shows what was skipped")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Place;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

/// A host in a directory.
struct Host {
    place: Place,
}

const RMEM_MAX: &str = "proc/sys/net/core/rmem_max";
const WMEM_MAX: &str = "proc/sys/net/core/wmem_max";
const GOVERNOR: &str = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";
const LIMITS: &str = "etc/security/limits.d/seqcast.conf";

impl Host {
    fn new(name: &str) -> Self {
        let host = Self { place: Place::new(name) };
        for (file, value) in [(RMEM_MAX, "212992\n"), (WMEM_MAX, "99999999\n"), (GOVERNOR, "powersave\n")] {
            host.write(file, value);
        }
        fs::create_dir_all(host.path(LIMITS).parent().unwrap()).unwrap();
        host
    }

    fn path(&self, file: &str) -> PathBuf {
        self.place.path("root").join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_default().trim().to_owned()
    }

    fn all(&self) -> [String; 4] {
        [RMEM_MAX, WMEM_MAX, GOVERNOR, LIMITS].map(|file| self.read(file))
    }

    fn state(&self) -> PathBuf {
        self.place.path("state/tune")
    }

    /// What the script says; it succeeds.
    fn tune(&self, arguments: &[&str]) -> String {
        let output = self.try_tune(arguments);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_tune(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(scripts().join("tune.sh"));
        command.args(arguments).arg("--root").arg(self.place.path("root")).arg("--state").arg(self.state());
        command.output().unwrap()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_host_is_set_up_and_taken_back_to_just_what_it_was() {
    let host = Host::new("tune");
    let before = host.all();
    let words = host.tune(&["apply"]);
    assert!(words.contains("/proc/sys/net/core/rmem_max: 212992 -> 33554432"), "{words}");
    assert!(words.contains("busy_poll: not on this kernel"), "{words}");
    let [rmem, wmem, governor, limits] = host.all();
    assert_eq!([&rmem, &wmem, &governor], ["33554432", "99999999", "performance"], "more than enough stays");
    assert!(limits.contains("@seqcast - rtprio 99"), "{limits}");

    let state = fs::read(host.state()).unwrap();
    let again = host.tune(&["apply"]);
    assert!(!again.contains("->"), "{again}");
    assert_eq!(fs::read(host.state()).unwrap(), state, "what it was is remembered, not what it is");
    assert!(host.tune(&["show"]).contains("rmem_max: 33554432, would be 33554432, was 212992"));

    host.tune(&["undo"]);
    assert_eq!(host.all(), before);
    assert!(!host.path(LIMITS).exists() && !host.state().parent().unwrap().exists());
    assert!(host.tune(&["undo"]).contains("nothing to take back"));
}

#[test]
fn a_dry_run_says_the_same_and_does_nothing() {
    let host = Host::new("tune-dry");
    let before = host.all();
    let said = host.tune(&["apply", "--dry-run"]);
    assert_eq!(host.all(), before);
    assert!(!host.state().exists());
    assert_eq!(host.tune(&["apply"]), said);
    let after = host.all();
    let said = host.tune(&["--dry-run", "undo"]);
    assert_eq!(host.all(), after);
    assert_eq!(host.tune(&["undo"]), said);
}

#[test]
fn what_somebody_else_has_changed_is_left_to_them() {
    let host = Host::new("tune-others");
    host.write(LIMITS, "of somebody else\n");
    host.tune(&["apply"]);
    assert_eq!(host.read(LIMITS), "of somebody else");
    host.write(RMEM_MAX, "7777\n");
    let words = host.tune(&["undo"]);
    assert!(words.contains("rmem_max: 7777, changed by somebody else since it was set to 33554432"), "{words}");
    assert_eq!(host.all(), ["7777", "99999999", "powersave", "of somebody else"]);
    assert!(!host.state().exists());
}

#[test]
fn a_restart_in_between_changes_nothing_about_the_way_back() {
    let host = Host::new("tune-restart");
    let before = host.all();
    host.tune(&["apply"]);
    host.write(RMEM_MAX, "212992\n");
    host.write(GOVERNOR, "powersave\n");
    host.tune(&["apply"]);
    assert_eq!(host.read(RMEM_MAX), "33554432");
    host.write(GOVERNOR, "powersave\n");
    host.tune(&["undo"]);
    assert_eq!(host.all(), before);
}

#[test]
fn what_cannot_be_set_is_told_and_the_rest_is_set() {
    let host = Host::new("tune-refused");
    fs::remove_file(host.path(GOVERNOR)).unwrap();
    // Nobody, not even root, may write this one.
    std::os::unix::fs::symlink("/proc/sys/kernel/ostype", host.path(GOVERNOR)).unwrap();
    fs::remove_dir(host.path(LIMITS).parent().unwrap()).unwrap();
    let output = host.try_tune(&["apply"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("scaling_governor could not be set to performance"), "{}", errors(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("limits are not set here"));
    assert_eq!(host.read(RMEM_MAX), "33554432");
    let words = host.tune(&["undo"]);
    assert!(!words.contains("governor") && host.read(RMEM_MAX) == "212992", "{words}");
}

#[test]
fn who_is_not_root_is_refused_with_the_reason_and_whoever_says_nothing_is_told_how() {
    let script = fs::read(scripts().join("tune.sh")).unwrap();
    let place = Place::new("tune-root");
    let script = place.write("tune.sh", &script);
    let output = Command::new("bash").arg(&script).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("tune.sh undo"), "{}", errors(&output));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "bash", "-s", "apply"]);
    let output = match command.stdin(fs::File::open(&script).unwrap()).output() {
        Ok(output) if !errors(&output).starts_with("setpriv: ") => output,
        _ => {
            println!("skipped: this is not root, or there is no setpriv");
            return;
        }
    };
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(errors(&output).contains("apply needs root: it writes to"), "{}", errors(&output));
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: there is no systemd-analyze");
        return;
    }
    let place = Place::new("units");
    let verify = |name: &str, text: &str| {
        let unit = place.write(name, text.as_bytes());
        Command::new("systemd-analyze").args(["verify", "--recursive-errors=no"]).arg(unit).output().unwrap()
    };
    for name in ["seqcast-publish@", "seqcast-subscribe@"] {
        let text = fs::read_to_string(scripts().join("systemd").join(format!("{name}.service"))).unwrap();
        assert!(text.contains("ExecStart=/usr/local/bin/seqcast "), "{text}");
        let text = text.replace("/usr/local/bin/seqcast ", &format!("{} ", env!("CARGO_BIN_EXE_seqcast")));
        let output = verify(&format!("{name}EQ.service"), &text);
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", errors(&output));
        let wrong = verify(&format!("{name}wrong.service"), &text.replace("LimitRTPRIO=99", "LimitRTPRIO=ninety"));
        assert!(!wrong.stderr.is_empty(), "it looks at what it is given");
    }
}
