//! `throughput`: the highest pace that needs no request, everything at once, and everything under loss.

use crate::figures::{Figure, median_lowest_highest};
use crate::messages::Messages;
use crate::plots::Bar;
use crate::report::{self, Measurement, Round};
use crate::stage::{Common, parse_share};
use crate::subject::{Choice, Chosen, Subject, fits};
use crate::system::Setup;
use crate::trial::{Search, Trial};
use seqcast_recovery::{ByteSize, Nanos, parse_duration};
use std::fmt;
use std::io::Write;
use std::str::FromStr;

/// Measure the highest pace that needs no request, the time to deliver everything unpaced, and both under seeded loss
///
/// One sender, one receiver, two threads, pinned, which spin; every message is compared. For each size and datagram, with the
/// systems in turn:
///
/// Unpaced: everything is handed over as fast as it goes; its rate, and that of complete delivery, from the first message to
/// the last, recovery included. What repairs nothing is told with what it lost.
///
/// Highest pace: by bisection, the highest at which nothing is asked for again and nothing lost. A pace that fails is tried
/// twice more, because one stall of the machine should not decide; 0 if no pace was clean.
///
/// Loss: at --loss-pace of that pace, in turn without and with, and against that pace; the rate of a run is its messages over the
/// time from the first due to the last delivered. Loss hits the line and the answers alike. Everything is retained, here and
/// unpaced; at a pace, the default.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    choice: Choice,
    /// Bytes of the messages, or market: generated market data of 12 to 44 bytes
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "32,100,288,1024,market")]
    sizes: Vec<Size>,
    /// Bytes of the longest datagrams
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1472,8972,65507")]
    datagrams: Vec<usize>,
    /// Shares of the datagrams lost
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_value = "0,0.1%,1%,5%", value_parser = parse_share)]
    loss: Vec<f64>,
    /// The pace of the runs under loss, as a share of the highest clean one, at which there is no time to repair anything
    #[arg(long, value_name = "SHARE", default_value = "90%", value_parser = parse_share)]
    loss_pace: f64,
    /// The receive buffer to ask for; systems that have another one say so
    #[arg(long, value_name = "BYTES", default_value = "16MiB")]
    receive_buffer: ByteSize,
    /// Messages of an unpaced run, as far as they have less than a GiB
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// How long a run at a pace lasts
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    time: Nanos,
    /// Runs without and with each loss, each, per round
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
}

/// The length of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Bytes(usize),
    Market,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "market" => Ok(Self::Market),
            _ => text
                .parse()
                .ok()
                .filter(|&bytes| bytes > 0)
                .map(Self::Bytes)
                .ok_or("a number of bytes, or market".into()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Market => f.write_str("market data"),
        }
    }
}

/// What is compared unless the options say otherwise.
const SYSTEMS: [&str; 4] = ["bare-multicast", "bare-multicast+segmented", "seqcast", "seqcast+segmented"];

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options, all: &[Subject]) -> Result<(), String> {
    let chosen = options.choice.among(all, &SYSTEMS)?;
    let cases = options.cases();
    for case in &cases {
        fits("--datagrams", &case.setup)?;
        if chosen.subjects.iter().all(|subject| subject.refusal(&case.setup).is_some()) {
            chosen.accept("--datagrams", &case.setup)?;
        }
    }
    let what = format!(
        "one sender, one receiver, every message compared; {} messages unpaced as far as they have less than a GiB, {} s at \
         each pace",
        options.messages,
        options.time.as_duration().as_secs_f64()
    );
    let systems = options.datagrams.iter().flat_map(|&datagram_bytes| {
        let mut systems = chosen.describe(&options.setup(LONGEST_MARKET_BYTES, datagram_bytes));
        if options.datagrams.len() > 1 {
            systems.iter_mut().for_each(|system| system.name = format!("{}, {datagram_bytes} B", system.name));
        }
        systems
    });
    let systems = systems.collect();
    let mut seed = 0;
    report::measure(&options.common, &Measurement { command: "throughput", what, systems }, || {
        let mut round = Round::default();
        for case in &cases {
            let _ = writeln!(std::io::stderr(), "  {}", case.title());
            let measured = case.measure(options, &chosen, &mut seed, &mut round);
            measured.map_err(|error| format!("{}: {error}", case.title()))?;
        }
        Ok(round)
    })
}

impl Options {
    fn setup(&self, message_bytes: usize, datagram_bytes: usize) -> Setup {
        Setup { datagram_bytes, receive_buffer_bytes: self.receive_buffer.0, ..Setup::new(message_bytes) }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &datagram_bytes in &self.datagrams {
            for &size in &self.sizes {
                let message_bytes = if let Size::Bytes(bytes) = size { bytes } else { LONGEST_MARKET_BYTES };
                cases.push(Case { size, setup: self.setup(message_bytes, datagram_bytes) });
            }
        }
        cases
    }
}

/// No message of market data is longer.
const LONGEST_MARKET_BYTES: usize = 44;

/// A size in a datagram.
#[derive(Clone, Copy, Debug)]
struct Case {
    size: Size,
    setup: Setup,
}

impl Case {
    fn title(&self) -> String {
        format!("{} in {} B", self.size, self.setup.datagram_bytes)
    }

    fn measure(&self, options: &Options, chosen: &Chosen, seed: &mut u64, round: &mut Round) -> Result<(), String> {
        let messages = match self.size {
            Size::Bytes(bytes) => Messages::uniform(bytes, 1),
            Size::Market => Messages::market(1),
        };
        let subjects: Vec<&Subject> =
            chosen.subjects.iter().filter(|subject| subject.refusal(&self.setup).is_none()).collect();
        let (setup, most, time) = (self.setup, options.messages, options.time);
        let trial = Trial { common: &options.common, setup, messages: &messages, most, time };
        let mut searches = Vec::new();
        for subject in &subjects {
            trial.warm_up(subject)?;
            let run = trial.unpaced(subject)?;
            let count = trial.unpaced_count() as f64;
            let sent = count / run.published_in.as_duration().as_secs_f64();
            let delivered = (count - run.lost as f64) / run.delivered_in.as_duration().as_secs_f64();
            self.show(round, "unpaced, handed over", subject, sent / 1e6, MILLIONS);
            if run.lost == 0 {
                self.show(round, "unpaced, all delivered", subject, delivered / 1e6, MILLIONS);
                self.show_bar(round, "Unpaced, until all is delivered, million messages/s", "", subject, delivered);
            } else {
                self.show(round, "unpaced, lost", subject, run.lost as f64 / count * 100.0, "%");
            }
            searches.push(Search::around(sent));
        }
        // Step by step in turn, so that the machine's speed hits all alike.
        while searches.iter().any(Search::goes_on) {
            for (search, subject) in searches.iter_mut().zip(&subjects).filter(|(search, _)| search.goes_on()) {
                search.step(|pace| trial.reaches(subject, pace))?;
            }
        }
        for (search, subject) in searches.iter().zip(&subjects) {
            // None of those that were tried.
            let best = search.best.unwrap_or(0.0);
            self.show(round, "highest clean pace", subject, best / 1e6, MILLIONS);
            self.show_bar(round, "Highest pace without a request or a loss, million messages/s", "", subject, best);
            for &loss in options.loss.iter().filter(|&&loss| loss > 0.0 && best > 0.0) {
                if subject.refusal(&Setup { loss, ..self.setup }).is_none() {
                    let paces = (best, search.low * options.loss_pace);
                    self.show_loss(round, &trial, subject, paces, loss, (options.pairs, seed))?;
                }
            }
        }
        self.show_ratios(round, chosen, &subjects, &searches);
        Ok(())
    }

    fn show(&self, round: &mut Round, what: &str, subject: &Subject, value: f64, unit: &str) {
        round.figures.push(Figure::single(&format!("{}: {what}: {}", self.title(), subject.name()), value, unit));
    }

    fn show_bar(&self, round: &mut Round, chart: &str, how: &str, subject: &Subject, per_second: f64) {
        round.bars.push(Bar {
            chart: chart.to_owned(),
            group: self.title() + how,
            name: subject.name().to_owned(),
            value: per_second / 1e6,
        });
    }

    /// The rates of complete delivery without and with loss, in turn at a pace below `best`, the highest that is clean without.
    fn show_loss(
        &self,
        round: &mut Round,
        trial: &Trial<'_>,
        subject: &Subject,
        (best, pace): (f64, f64),
        loss: f64,
        (pairs, seed): (u16, &mut u64),
    ) -> Result<(), String> {
        let (mut without, mut with, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..pairs {
            *seed += 1;
            let (_, clean) = trial.complete(subject, pace, 0.0, *seed)?;
            let (run, lossy) = trial.complete(subject, pace, loss, *seed)?;
            without.push(clean);
            with.push(lossy);
            requests.push(run.requests as f64);
        }
        let [[without, ..], [with, ..], [requests, ..]] =
            [&mut without, &mut with, &mut requests].map(|values| median_lowest_highest(values));
        let percent = loss * 100.0;
        self.show(round, &format!("complete under {percent} % loss"), subject, with / 1e6, MILLIONS);
        self.show(round, &format!("complete under {percent} % loss, against without"), subject, with / without, "x");
        let what = format!("complete under {percent} % loss, against the highest clean pace");
        self.show(round, &what, subject, with / best, "x");
        self.show(round, &format!("requests under {percent} % loss"), subject, requests, "");
        let lost = format!(", {percent} % lost");
        self.show_bar(round, "Complete delivery under loss, million messages/s", &lost, subject, with);
        Ok(())
    }

    fn show_ratios(&self, round: &mut Round, chosen: &Chosen, subjects: &[&Subject], searches: &[Search]) {
        let reference = chosen.reference().name();
        let best = |name: &str| {
            let index = subjects.iter().position(|subject| subject.name() == name)?;
            searches[index].best
        };
        for (_, other) in chosen.others() {
            if let (Some(to), Some(of)) = (best(reference), best(other.name())) {
                let name = format!("{}: highest clean pace: {} / {reference}", self.title(), other.name());
                round.figures.push(Figure::single(&name, of / to, "x"));
            }
        }
    }
}

const MILLIONS: &str = "million/s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_market_data() {
        assert_eq!(["100", "market"].map(str::parse), [Ok(Size::Bytes(100)), Ok(Size::Market)]);
        for wrong in ["0", "-1", "much"] {
            wrong.parse::<Size>().unwrap_err();
        }
    }
}
