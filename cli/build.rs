//! Finds out which commit the command is built from, for `seqcast --version`. Where there is no repository, as in a package
//! or an archive, there is no commit; a repository that this crate was merely unpacked into is not taken for its own.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").expect("cargo sets it");
    let rustc = std::env::var("RUSTC").expect("cargo sets it");
    let rustc = output(Command::new(rustc).arg("--version")).unwrap_or_else(|| "rustc of unknown version".to_owned());
    println!("cargo::rustc-env=SEQCAST_COMMIT={}", commit().map_or_else(String::new, |commit| format!(" ({commit})")));
    println!("cargo::rustc-env=SEQCAST_RUSTC={rustc}");
    println!("cargo::rustc-env=SEQCAST_TARGET={target}");
}

/// The commit, and whether what is built differs from it.
fn commit() -> Option<String> {
    if git(&["rev-parse", "--show-prefix"])? != "cli/" {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // What changes when HEAD moves: itself, its log, its branch. Which of them there are depends on the repository; one that is
    // absent would make every build look.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for file in ["HEAD", "logs/HEAD", "packed-refs", &branch] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let sources = sources()?;
    for source in &sources {
        println!("cargo::rerun-if-changed={source}");
    }
    let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"];
    let arguments: Vec<_> = status.into_iter().chain(sources.iter().map(String::as_str)).collect();
    let is_modified = !git(&arguments)?.is_empty();
    Some(if is_modified { format!("{commit}, modified") } else { commit })
}

/// What the command is built from: the crates beside this one, but for the benchmarks.
fn sources() -> Option<Vec<String>> {
    let mut sources = vec!["../Cargo.toml".to_owned(), "../Cargo.lock".to_owned(), "build.rs".to_owned()];
    for name in git(&["-C", "..", "ls-tree", "-d", "--name-only", "HEAD"])?.lines().filter(|&name| name != "benches") {
        let crate_files = ["src", "Cargo.toml"].map(|file| format!("../{name}/{file}"));
        sources.extend(crate_files.into_iter().filter(|file| Path::new(file).exists()));
    }
    Some(sources)
}

/// What git says in this directory; `None` where it, or its repository, is not to be had.
fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}
