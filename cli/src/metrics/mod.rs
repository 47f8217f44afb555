//! `seqcast metrics`: the counters of all processes of this host for Prometheus, from a process of its own.

mod exposition;
mod help;
mod request;
mod server;

use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::stats::{Complaints, Directory};
use server::Server;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

/// Serve the counters of every publisher, retransmitter and subscriber of this host to Prometheus
///
/// Examples:
///   seqcast metrics
///   seqcast metrics --listen 10.1.0.5:9464
///   curl http://127.0.0.1:9464/metrics
///
/// Each scrape reads the files anew. There is neither encryption nor a password: whoever reaches the address reads the names
/// and addresses of all feeds.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Where to listen for HTTP
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    #[command(flatten)]
    directory: Directory,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    serve(options).err().unwrap_or_default()
}

fn serve(options: &Options) -> Result<(), Outcome> {
    let interrupt = Interrupt::new().map_err(|error| Outcome::failed(&error))?;
    // What cannot be read now is no reason to begin.
    options.directory.read()?;
    let at = |error: &io::Error| Outcome::option(&format!("--listen {}", options.listen), error);
    let listener = TcpListener::bind(options.listen).map_err(|error| at(&error))?;
    let address = listener.local_addr().map_err(|error| at(&error))?;
    let mut words = format!("serving http://{address}/metrics\n");
    words += warning(address).unwrap_or_default();
    // There is nobody to tell when standard error is gone.
    let _ = io::stderr().lock().write_all(words.as_bytes());
    let directory = options.directory.clone();
    let complaints = Mutex::new(Complaints::default());
    let page = move || {
        let reading = directory.read().map_err(|outcome| {
            outcome.conditions().iter().map(|condition| condition.text().to_owned()).collect::<String>()
        })?;
        // One that panicked while it told of them has told enough.
        if let Ok(mut complaints) = complaints.lock() {
            complaints.say(&reading);
        }
        Ok(exposition::text(&reading))
    };
    Server::new(listener, page).run(&interrupt).map_err(|error| at(&error))
}

/// What has to be said of an address that others may reach.
fn warning(address: SocketAddr) -> Option<&'static str> {
    (!address.ip().is_loopback()).then_some(
        "seqcast: warning: --listen is no address of loopback: whoever reaches it reads the names and addresses of all feeds\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_may_reach_are_warned_of() {
        for (address, is_warned) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
            ("10.1.0.5:1", true),
            ("[::]:1", true),
        ] {
            assert_eq!(warning(address.parse().unwrap()).is_some(), is_warned, "{address}");
        }
    }
}
