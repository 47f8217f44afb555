//! `seqcast completions`: what makes a shell complete the command's words.

use crate::outcome::{Condition, Outcome};
use std::io::{ErrorKind, Write};

/// Print what makes a shell complete this command: subcommands, options, values
///
/// Examples:
///   source <(seqcast completions bash)
///   seqcast completions bash > ~/.local/share/bash-completion/completions/seqcast
///   seqcast completions zsh > ~/.zfunc/_seqcast        # with fpath+=~/.zfunc before compinit
///   seqcast completions fish > ~/.config/fish/completions/seqcast.fish
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Runs the subcommand, for this command.
#[must_use]
pub fn run(options: Options, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    match std::io::stdout().lock().write_all(&script) {
        // A reader that has read enough, as `head`, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Condition::Failed(format!("standard output: {error}")).into()
        }
        _ => Outcome::default(),
    }
}
