//! `seqcast generate`: realistic market data as blocks.

use crate::interrupt::Interrupt;
use crate::market::MarketData;
use crate::outcome::{Condition, Outcome};
use crate::output::{Output, OutputError, OutputFormat};
use crate::progress::{Progress, thousands};
use seqcast_transport::Clock;
use std::path::PathBuf;

/// Generate realistic market data: ITCH 5.0 messages of a consistent order book, as blocks
///
/// Examples:
///   seqcast generate --messages 1000000 --output day.blocks
///   seqcast generate --messages 1000000 --seed 7 --output - | seqcast publish --input -
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// How many messages
    #[arg(long, value_name = "N")]
    messages: u64,
    /// The same seed gives the same messages
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where to write them; - is standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the subcommand.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    match generate(options) {
        Ok(outcome) => outcome,
        Err(error) if error.is_broken_pipe() => Outcome::default(),
        Err(error) => Outcome::unwritable(&options.output, &error),
    }
}

fn generate(options: &Options) -> Result<Outcome, OutputError> {
    let interrupt = Interrupt::new()?;
    let mut output = Output::open(&options.output, OutputFormat::Blocks, &interrupt)?;
    let mut data = MarketData::new(options.seed);
    let mut progress = Progress::new();
    let mut outcome = Outcome::default();
    for number in 1..=options.messages {
        if interrupt.is_raised() {
            let words =
                format!("interrupted after {} of {} messages", thousands(number - 1), thousands(options.messages));
            outcome.add(Condition::Failed(words));
            break;
        }
        output.message("", number, data.next_message(), None)?;
        if number % 65_536 == 0 {
            progress.update(Clock::now(), number, || format!("{} generated", thousands(number)));
        }
    }
    progress.clear();
    output.flush()?;
    Ok(outcome)
}
