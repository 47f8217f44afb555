//! `hiccup`: the stalls of the machine itself.

use crate::plots::Curve;
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, Gate, run_pair};
use crate::stalls::Pauses;
use seqcast_recovery::{Nanos, parse_duration};
use seqcast_transport::Clock;

/// Measure how often and for how long the machine takes the cores away from two threads that spin
///
/// Two threads, each pinned to its core, do nothing but read the clock. A reading that comes more than a microsecond after the
/// one before is a stall: the timer tick, an interrupt, another process, the hypervisor. No latency measured on this machine
/// is better than that.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// How long a round lasts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    time: Nanos,
}

/// What a round may take beyond its time.
const PATIENCE: Nanos = Nanos::from_secs(30);

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let seconds = options.time.as_duration().as_secs_f64();
    let what = format!("stalls of two threads that spin, pinned, for {seconds} s a round");
    report::measure(&options.common, &Measurement::new("hiccup", what), || {
        let mut pauses = pair(Clock::now());
        watch(&options.common, &mut pauses, options.time)?;
        let curve = |pauses: &Pauses| Curve {
            chart: "How long stalls above 1 us are".to_owned(),
            name: pauses.name.clone(),
            samples: pauses.lengths().clone(),
        };
        Ok(Round { curves: pauses.iter().map(curve).collect(), ..Round::default() }.beside(pauses))
    })
}

/// None yet on either core, from `now` on.
pub(crate) fn pair(now: Nanos) -> [Pauses; 2] {
    ["publisher's core", "subscriber's core"].map(|name| Pauses::new(name.to_owned(), now))
}

/// Watches both cores for `time`.
pub(crate) fn watch(common: &Common, pauses: &mut [Pauses; 2], time: Nanos) -> Result<(), String> {
    let gate = Gate::new(time + PATIENCE);
    let until = Clock::now() + time;
    let [publishing, subscribing] = pauses;
    let watch = |pauses: &mut Pauses| {
        pauses.watch(until);
        Ok(())
    };
    let results = run_pair(common, &gate, || watch(publishing), || watch(subscribing));
    gate.finish(results).map(|_| ())
}
