//! What a run shows: named figures, percentiles as far as the samples carry them, and the spread over the rounds.

use crate::environment;
use hdrhistogram::Histogram;
use seqcast_recovery::Nanos;
use std::io::Write;

/// The percentiles that are told, in thousandths.
const PERCENTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

/// A percentile is told when at least so many samples lie beyond it; fewer make it a matter of luck. Arbitrary.
const SAMPLES_BEYOND: u64 = 10;

/// The longest time that is told apart: a minute, longer than any run waits for anything.
const LONGEST: Nanos = Nanos::from_secs(60);

/// Times, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Histogram<u64>);

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST.0, 3).expect("1 ns to 60 s in three digits is a histogram"))
    }

    /// Takes one more; what is longer than a minute counts as a minute.
    pub(crate) fn record(&mut self, time: Nanos) {
        self.0.saturating_record(time.0);
    }

    /// Takes all of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The median in microseconds.
    pub(crate) fn median_us(&self) -> f64 {
        self.0.value_at_quantile(0.5) as f64 / 1e3
    }

    /// The percentiles in microseconds.
    pub(crate) fn figure(&self, name: &str) -> Figure {
        Figure { samples: Some(self.count()), ..Figure::new(name, self.percentiles(1.0), "us") }
    }

    /// The percentiles as multiples of `unit_us`.
    pub(crate) fn multiples(&self, name: &str, unit_us: f64) -> Figure {
        Figure::new(name, self.percentiles(unit_us), "x")
    }

    /// The percentiles as multiples of the same ones of `other`.
    pub(crate) fn ratios(&self, name: &str, other: &Self) -> Figure {
        let both = self.percentiles(1.0).into_iter().zip(other.percentiles(1.0));
        let values = both.map(|((label, value), (_, other))| (label, value / other)).collect();
        Figure::new(name, values, "x")
    }

    fn percentiles(&self, unit_us: f64) -> Vec<(&'static str, f64)> {
        let is_carried = |&(_, thousandths): &(_, u64)| self.count() * (1_000 - thousandths) / 1_000 >= SAMPLES_BEYOND;
        let value = |thousandths: u64| self.0.value_at_quantile(thousandths as f64 / 1e3) as f64 / 1e3 / unit_us;
        let carried = PERCENTILES.into_iter().filter(is_carried);
        carried.map(|(label, thousandths)| (label, value(thousandths))).collect()
    }
}

/// One line of a round.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    /// How many samples it is made of, if it is told.
    samples: Option<u64>,
    values: Vec<(&'static str, f64)>,
    unit: &'static str,
}

impl Figure {
    /// A single value.
    pub(crate) fn single(name: &str, value: f64, unit: &'static str) -> Self {
        Self::new(name, vec![("", value)], unit)
    }

    fn new(name: &str, values: Vec<(&'static str, f64)>, unit: &'static str) -> Self {
        Self { name: name.to_owned(), samples: None, values, unit }
    }

    /// As it is told of its round.
    fn line(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|(label, value)| labelled(label, &digits(*value))).collect();
        let values = if values.is_empty() { "too few samples".to_owned() } else { values.join("  ") + " " + self.unit };
        let samples = self.samples.map(|count| format!(", {count} samples")).unwrap_or_default();
        row(&(self.name.clone() + &samples), &values)
    }
}

/// Says what machine this is and what is measured, runs the rounds, then prints the figures of each and their spread. A
/// round that fails leaves none.
///
/// # Errors
///
/// The first that a round returned.
pub(crate) fn report(
    rounds: u16,
    what: &str,
    mut round: impl FnMut() -> Result<Vec<Figure>, String>,
) -> Result<(), String> {
    let say = |words: String| writeln!(std::io::stdout().lock(), "{words}").map_err(|error| error.to_string());
    say(environment::describe())?;
    say(what.to_owned())?;
    let mut figures = Vec::new();
    for number in 1..=rounds {
        // For who waits; nothing depends on it.
        let _ = writeln!(std::io::stderr(), "round {number} of {rounds}");
        figures.push(round()?);
    }
    for (number, round) in (1..).zip(&figures) {
        say(format!("round {number}"))?;
        round.iter().map(Figure::line).try_for_each(&say)?;
    }
    say(format!("median of {rounds} (lowest to highest)"))?;
    spread(&figures).into_iter().try_for_each(say)
}

fn row(name: &str, values: &str) -> String {
    format!("  {name:<58} {values}").trim_end().to_owned()
}

fn spread(rounds: &[Vec<Figure>]) -> Vec<String> {
    let Some((first, others)) = rounds.split_first() else { return Vec::new() };
    let spread_of = |figure: &Figure| {
        let value_in = |round: &Vec<Figure>, label: &str| {
            let same = round.iter().find(|other| other.name == figure.name)?;
            same.values.iter().find(|(other, _)| *other == label).map(|&(_, value)| value)
        };
        let values = figure.values.iter().filter_map(|&(label, value)| {
            let others: Option<Vec<f64>> = others.iter().map(|round| value_in(round, label)).collect();
            let mut values = others?;
            values.push(value);
            values.sort_by(f64::total_cmp);
            let [lowest, median, highest] = [0, values.len() / 2, values.len() - 1].map(|index| digits(values[index]));
            Some(labelled(label, &format!("{median} ({lowest} to {highest})")))
        });
        let values: Vec<String> = values.collect();
        (!values.is_empty()).then(|| row(&figure.name, &format!("{} {}", values.join("  "), figure.unit)))
    };
    first.iter().filter_map(spread_of).collect()
}

fn labelled(label: &str, value: &str) -> String {
    if label.is_empty() { value.to_owned() } else { format!("{label} {value}") }
}

/// Three significant digits, and every digit before the point.
fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u64) -> Samples {
        let mut samples = Samples::new();
        (1..=count).for_each(|micros| samples.record(Nanos::from_micros(micros)));
        samples
    }

    #[test]
    fn a_percentile_is_told_only_with_ten_samples_beyond_it() {
        let labels = |count| samples(count).percentiles(1.0).iter().map(|&(label, _)| label).collect::<Vec<_>>();
        assert_eq!(labels(19), [""; 0]);
        assert_eq!(labels(20), ["p50"]);
        assert_eq!(labels(999), ["p50", "p90"]);
        assert_eq!(labels(1_000), ["p50", "p90", "p99"]);
    }

    #[test]
    fn times_are_told_in_microseconds_and_as_multiples() {
        let hundred = samples(100);
        let line = hundred.figure("trip").line();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), "trip, 100 samples p50 50.0 p90 90.0 us");
        assert_eq!(digits(hundred.multiples("trip", 25.0).values[0].1), "2.00");
        assert_eq!(digits(hundred.ratios("trip", &hundred).values[0].1), "1.00");
    }

    #[test]
    fn the_spread_is_the_median_with_the_lowest_and_the_highest() {
        let rounds = [3.0, 1.0, 20.0].map(|value| vec![Figure::single("requests", value, "")]);
        let [line] = &spread(&rounds)[..] else { panic!("one figure, one line") };
        assert!(line.ends_with("3.00 (1.00 to 20.0)"), "{line}");
    }

    #[test]
    fn a_percentile_that_a_round_lacks_has_no_spread() {
        let rounds = [samples(100), samples(20)].map(|samples| vec![samples.figure("trip")]);
        assert!(!spread(&rounds)[0].contains("p90"));
    }
}
