//! `latency`: round trips with the systems in turn, and one way at given rates.

use crate::figures::{Figure, Samples, median_lowest_highest};
use crate::hiccup;
use crate::messages::Messages;
use crate::plots::{Bar, Curve};
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, parse_rate};
use crate::stalls::Pauses;
use crate::stream::Load;
use crate::subject::{Choice, Chosen, Subject};
use crate::system::Setup;
use crate::trip::{self, Plan, Tripped};
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_transport::Clock;

/// Measure round trips, and one way at given rates from the time that each message was due
///
/// Round trips: one thread sends a message and spins until it comes back, another sends back what comes; the systems take
/// turns, a few hundred trips each, so that what the machine's speed does hits all alike. The ratio of two systems is told of
/// the medians turn by turn: its median, and its lower and upper quarter.
///
/// One way: messages are due at even distances whatever became of those before, so that a stall counts for all that it delays;
/// measured from then until the message is handed over, by the host's monotonic clock, which both threads read. A rate that
/// is not reached fails.
///
/// Both threads are pinned and spin, and compare every message. The stalls of the machine are watched in between.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    choice: Choice,
    /// Bytes of the messages
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "32,64,288,1344")]
    sizes: Vec<usize>,
    /// Round trips of each system and size a round; 0 for none
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    trips: usize,
    /// Round trips between two turns
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    swap: u16,
    /// Messages per second one way; 0 for none
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10000,50000")]
    rates: Vec<Rate>,
    /// How long each system sends at each rate and size a round
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    time: Nanos,
}

/// A number per second, or none.
#[derive(Clone, Copy, Debug)]
struct Rate(Option<f64>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" { Ok(Self(None)) } else { parse_rate(text).map(|rate| Self(Some(rate))) }
    }
}

/// What is compared unless the options say otherwise.
const SYSTEMS: [&str; 3] = ["bare-multicast", "seqcast", "seqcast+segmented"];

/// Round trips of each system and size before the first that counts.
pub(crate) const WARM_UP_TRIPS: usize = 2_000;

/// One way, what is due in the first part of a run does not count: caches are cold, buffers untouched.
const WARM_UP: Nanos = Nanos::from_millis(100);

/// One way, a system has its turn several times a round.
const TURNS: u32 = 4;

/// The machine is watched for so long after each turn one way.
const WATCH: Nanos = Nanos::from_millis(20);

/// A rate counts as reached at this share of it: one stall at the end of a run should not fail it, and lateness that grows
/// shows in the times.
const ACHIEVED: f64 = 0.95;

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options, all: &[Subject]) -> Result<(), String> {
    let chosen = options.choice.among(all, &SYSTEMS)?;
    let setups: Vec<Setup> = options.sizes.iter().map(|&bytes| Setup::new(bytes)).collect();
    setups.iter().try_for_each(|setup| chosen.accept("--sizes", setup))?;
    let sizes: Vec<_> = options.sizes.iter().map(usize::to_string).collect();
    let mut what = format!("messages of {} bytes", sizes.join(", "));
    if options.trips > 0 {
        what += &format!("; {} round trips of each system a round, in turns of {}", options.trips, options.swap);
    }
    let rates: Vec<_> = options.rates.iter().filter_map(|rate| rate.0).map(|rate| format!("{rate}/s")).collect();
    if !rates.is_empty() {
        let seconds = options.time.as_duration().as_secs_f64();
        what += &format!("; one way at {} for {seconds} s each", rates.join(", "));
    }
    what += "; two threads, pinned, spinning";
    let systems = setups.first().map(|setup| chosen.describe(setup)).unwrap_or_default();
    report::measure(&options.common, &Measurement { command: "latency", what, systems }, || {
        let (mut round, mut pauses) = (Round::default(), hiccup::pair(Clock::now()));
        for setup in &setups {
            let messages = Messages::uniform(setup.message_bytes, 1);
            if options.trips > 0 {
                let plan = Plan { trips: options.trips, swap: usize::from(options.swap), warm_up: WARM_UP_TRIPS };
                let tripped = trip::rotate(&options.common, &chosen.subjects, setup, &messages, plan, &mut pauses)?;
                show_trips(&mut round, &chosen, setup.message_bytes, &tripped);
            }
            for rate in options.rates.iter().filter_map(|rate| rate.0) {
                one_way(&mut round, options, &chosen, setup, &messages, rate, &mut pauses)?;
            }
        }
        Ok(round.beside(pauses))
    })
}

/// Shows what the trips of this size showed.
pub(crate) fn show_trips(round: &mut Round, chosen: &Chosen, bytes: usize, tripped: &Tripped) {
    let (reference, to) = (chosen.reference, chosen.reference().name());
    let chart = format!("Round trip of {bytes} B");
    for (subject, times) in chosen.subjects.iter().zip(&tripped.times) {
        round.figures.push(times.figure(&format!("round trip of {bytes} B: {}", subject.name())));
        round.curves.push(Curve { chart: chart.clone(), name: subject.name().to_owned(), samples: times.clone() });
        round.bars.push(Bar {
            chart: "Median round trip, microseconds".to_owned(),
            group: format!("{bytes} B"),
            name: subject.name().to_owned(),
            value: times.median_us(),
        });
    }
    for (index, subject) in chosen.others() {
        let name = format!("round trip of {bytes} B: {} / {to}", subject.name());
        let [median, lower, upper] = tripped.ratio(index, reference);
        let by_turn = [("p50 by turns", median), ("lower quarter", lower), ("upper quarter", upper)];
        round.figures.push(Figure::labelled(&name, &by_turn, "x"));
        round.figures.push(tripped.times[index].ratios(&format!("{name}, all trips"), &tripped.times[reference]));
    }
}

fn one_way(
    round: &mut Round,
    options: &Options,
    chosen: &Chosen,
    setup: &Setup,
    messages: &Messages,
    rate: f64,
    pauses: &mut [Pauses; 2],
) -> Result<(), String> {
    let bytes = setup.message_bytes;
    let count = ((options.time.as_duration().as_secs_f64() / f64::from(TURNS) + WARM_UP.as_duration().as_secs_f64())
        * rate)
        .ceil() as usize;
    let warm_up = (WARM_UP.as_duration().as_secs_f64() * rate) as usize;
    let load = Load {
        common: &options.common,
        setup: *setup,
        messages,
        count,
        warm_up,
        per_second: Some(rate),
        receivers: 1,
        threads: 1,
        keeps_times: true,
    };
    let mut times: Vec<_> = chosen.subjects.iter().map(|_| Samples::new()).collect();
    let mut sends = times.clone();
    let mut medians_us = vec![Vec::new(); chosen.subjects.len()];
    for turn in 0..TURNS {
        for place in 0..chosen.subjects.len() {
            let index = if turn % 2 == 0 { place } else { chosen.subjects.len() - 1 - place };
            let subject = &chosen.subjects[index];
            let run = subject.stream(&load).map_err(|error| format!("one way at {rate}/s: {error}"))?;
            let failed = |error: String| format!("one way at {rate}/s: {}: {error}", subject.name());
            if run.lost > 0 {
                return Err(failed(format!("{} of {count} messages were lost", run.lost)));
            }
            let reached = count as f64 / run.published_in.as_duration().as_secs_f64();
            if reached < ACHIEVED * rate {
                return Err(failed(format!("only {reached:.0}/s were reached")));
            }
            let mut in_turn = Samples::new();
            let arrivals = run.arrivals.first().into_iter().flatten().enumerate().skip(warm_up);
            arrivals.for_each(|(number, &arrival)| in_turn.record(arrival - load.due_at(run.started, number)));
            medians_us[index].push(in_turn.median_us());
            times[index].add(&in_turn);
            sends[index].add(&run.sends);
        }
        hiccup::watch(&options.common, pauses, WATCH)?;
    }
    let title = format!("one way of {bytes} B at {rate}/s");
    for ((subject, times), sends) in chosen.subjects.iter().zip(&times).zip(&sends) {
        round.figures.push(times.figure(&format!("{title}: {}", subject.name())));
        round.figures.push(sends.figure(&format!("{title}, time to send: {}", subject.name())));
        let chart = format!("One way of {bytes} B at {rate} messages/s, from when each was due");
        round.curves.push(Curve { chart, name: subject.name().to_owned(), samples: times.clone() });
    }
    let reference = chosen.reference;
    for (index, subject) in chosen.others() {
        let name = format!("{title}: {} / {}", subject.name(), chosen.reference().name());
        let mut ratios: Vec<f64> =
            medians_us[index].iter().zip(&medians_us[reference]).map(|(of, to)| of / to).collect();
        let [median, ..] = median_lowest_highest(&mut ratios);
        round.figures.push(Figure::labelled(&name, &[("p50 by turns", median)], "x"));
        round.figures.push(times[index].ratios(&format!("{name}, all messages"), &times[reference]));
    }
    Ok(())
}
