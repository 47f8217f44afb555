//! `fan-out`: one sender, many receivers: how late each hears a message, and the last after the first.

use crate::figures::Samples;
use crate::hiccup;
use crate::messages::Messages;
use crate::plots::Curve;
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, parse_rate};
use crate::stream::{Load, Streamed};
use crate::subject::{Choice, Subject};
use crate::system::Setup;
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_transport::Clock;
use std::num::NonZeroUsize;

/// Measure how late each of many receivers hears a message, and how long after the first the last one does
///
/// One sender, messages at even distances, each measured from the time that it was due to its delivery at each receiver, by
/// the host's monotonic clock. The sending thread and those that poll the receivers in turn are pinned and spin: the first on
/// the subscriber's core, the second on the publisher's. A receiver waits while others on its thread are polled, so the skew
/// holds that, too.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    choice: Choice,
    /// How many receivers
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8")]
    subscribers: Vec<NonZeroUsize>,
    /// Threads that poll them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    threads: u8,
    /// Bytes of the messages
    #[arg(long, value_name = "N", default_value_t = 64)]
    bytes: usize,
    /// Messages per second
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_rate)]
    rate: f64,
    /// How long a run lasts
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    time: Nanos,
}

/// What is measured unless the options say otherwise.
const SYSTEMS: [&str; 2] = ["bare-multicast", "seqcast"];

/// The first part of a run does not count: caches are cold, buffers untouched.
const WARM_UP: Nanos = Nanos::from_millis(100);

/// The machine is watched for so long after each run.
const WATCH: Nanos = Nanos::from_millis(50);

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options, all: &[Subject]) -> Result<(), String> {
    let chosen = options.choice.among(all, &SYSTEMS)?;
    let setup = Setup::new(options.bytes);
    chosen.accept("--bytes", &setup)?;
    let what = format!(
        "messages of {} bytes, {}/s for {} s, receivers polled by {} thread(s)",
        options.bytes,
        options.rate,
        options.time.as_duration().as_secs_f64(),
        options.threads
    );
    let messages = Messages::uniform(options.bytes, 1);
    let systems = chosen.describe(&setup);
    report::measure(&options.common, &Measurement { command: "fan-out", what, systems }, || {
        let mut round = Round::default();
        let mut pauses = hiccup::pair(Clock::now());
        for &receivers in &options.subscribers {
            for subject in &chosen.subjects {
                let load = Load {
                    common: &options.common,
                    setup,
                    messages: &messages,
                    count: ((options.time + WARM_UP).as_duration().as_secs_f64() * options.rate).ceil() as usize,
                    warm_up: (WARM_UP.as_duration().as_secs_f64() * options.rate) as usize,
                    per_second: Some(options.rate),
                    receivers: receivers.get(),
                    threads: usize::from(options.threads),
                    keeps_times: true,
                };
                let run = subject.stream(&load).map_err(|error| format!("{receivers} receivers: {error}"))?;
                if run.lost > 0 {
                    return Err(format!("{receivers} receivers: {}: {} messages were lost", subject.name(), run.lost));
                }
                show(&mut round, &load, subject, &run);
                hiccup::watch(&options.common, &mut pauses, WATCH)?;
            }
        }
        Ok(round.beside(pauses))
    })
}

fn show(round: &mut Round, load: &Load<'_>, subject: &Subject, run: &Streamed) {
    let &Load { count, warm_up, receivers, .. } = load;
    let (mut each, mut first, mut last, mut skew) = (Samples::new(), Samples::new(), Samples::new(), Samples::new());
    for index in warm_up..count {
        let due = load.due_at(run.started, index);
        let arrivals = || run.arrivals.iter().map(|arrivals| arrivals[index]);
        let (soonest, latest) = (arrivals().min().unwrap_or(due), arrivals().max().unwrap_or(due));
        arrivals().for_each(|arrival| each.record(arrival - due));
        first.record(soonest - due);
        last.record(latest - due);
        skew.record(latest - soonest);
    }
    let name = |what: &str| format!("receivers: {receivers}, {what}: {}", subject.name());
    round.figures.push(each.figure(&name("due to delivered, all")));
    let mut curve = |what: &str, samples| {
        let chart = format!("{}: {what}", subject.name());
        round.curves.push(Curve { chart, name: format!("receivers: {receivers}"), samples });
    };
    curve("due to delivered by each", each);
    if receivers > 1 {
        curve("first to last", skew.clone());
        round.figures.push(first.figure(&name("due to delivered, the first")));
        round.figures.push(last.figure(&name("due to delivered, the last")));
        round.figures.push(skew.figure(&name("first to last")));
    }
}
