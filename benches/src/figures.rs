//! What a run shows: named figures, percentiles as far as the samples carry them, and the spread over the rounds.

use hdrhistogram::Histogram;
use seqcast_recovery::Nanos;
use serde::{Deserialize, Serialize};

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.999_9),
    ("p99.999", 0.999_99),
    ("p99.9999", 0.999_999),
];

/// The label of the longest of all.
const LONGEST: &str = "max";

/// A percentile is told when at least so many samples lie beyond it; fewer make it a matter of luck. Arbitrary.
const SAMPLES_BEYOND: u64 = 10;

/// The longest time that is told apart: a minute, longer than any run waits for anything.
const LIMIT: Nanos = Nanos::from_secs(60);

/// Times, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Histogram<u64>);

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LIMIT.0, 3).expect("1 ns to 60 s in three digits is a histogram"))
    }

    /// Takes one more; what is longer than a minute counts as a minute.
    #[inline]
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

    /// As a histogram of nanoseconds.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The median in microseconds.
    pub(crate) fn median_us(&self) -> f64 {
        self.quantile_us(0.5)
    }

    /// A quantile in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Whether enough samples lie beyond this quantile for it to be told.
    pub(crate) fn carries(&self, quantile: f64) -> bool {
        /// Because 1 − 0.999 is a little less than 0.001.
        const ROUNDING: f64 = 1e-6;
        (self.count() as f64 * (1.0 - quantile) + ROUNDING) as u64 >= SAMPLES_BEYOND
    }

    /// The longest in microseconds.
    pub(crate) fn longest_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// The percentiles and the longest in microseconds.
    pub(crate) fn figure(&self, name: &str) -> Figure {
        let mut values = self.percentiles(1.0);
        if self.count() > 0 {
            values.push((LONGEST.to_owned(), self.longest_us()));
        }
        Figure { samples: Some(self.count()), ..Figure::new(name, values, "us") }
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

    fn percentiles(&self, unit_us: f64) -> Vec<(String, f64)> {
        let carried = PERCENTILES.into_iter().filter(|&(_, quantile)| self.carries(quantile));
        carried.map(|(label, quantile)| (label.to_owned(), self.quantile_us(quantile) / unit_us)).collect()
    }
}

/// One line of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    /// How many samples it is made of, if it is told.
    pub(crate) samples: Option<u64>,
    pub(crate) values: Vec<(String, f64)>,
    pub(crate) unit: String,
}

impl Figure {
    /// A single value.
    pub(crate) fn single(name: &str, value: f64, unit: &str) -> Self {
        Self::new(name, vec![(String::new(), value)], unit)
    }

    /// Several values, each with its label.
    pub(crate) fn labelled(name: &str, values: &[(&str, f64)], unit: &str) -> Self {
        Self::new(name, values.iter().map(|&(label, value)| (label.to_owned(), value)).collect(), unit)
    }

    fn new(name: &str, values: Vec<(String, f64)>, unit: &str) -> Self {
        Self { name: name.to_owned(), samples: None, values, unit: unit.to_owned() }
    }

    /// The same, of something.
    pub(crate) fn of(self, whose: &str) -> Self {
        Self { name: format!("{whose}: {}", self.name), ..self }
    }

    /// As it is told of its round: its name, its values.
    pub(crate) fn words(&self) -> (String, String) {
        let values: Vec<String> = self.values.iter().map(|(label, value)| labelled(label, &digits(*value))).collect();
        let values =
            if values.is_empty() { "too few samples".to_owned() } else { values.join("  ") + " " + &self.unit };
        let samples = self.samples.map(|count| format!(", {count} samples")).unwrap_or_default();
        (self.name.clone() + &samples, values)
    }
}

/// A figure over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// The label of each value, and its median, lowest and highest.
    pub(crate) values: Vec<(String, [f64; 3])>,
}

impl Spread {
    /// The medians of what every round has, in the order of the first.
    pub(crate) fn of(rounds: &[Vec<Figure>]) -> Vec<Self> {
        let Some((first, others)) = rounds.split_first() else { return Vec::new() };
        let spread_of = |figure: &Figure| {
            let value_in = |round: &Vec<Figure>, label: &str| {
                let same = round.iter().find(|other| other.name == figure.name)?;
                same.values.iter().find(|(other, _)| other == label).map(|&(_, value)| value)
            };
            let values = figure.values.iter().filter_map(|(label, value)| {
                let others: Option<Vec<f64>> = others.iter().map(|round| value_in(round, label)).collect();
                let mut values = others?;
                values.push(*value);
                Some((label.clone(), median_lowest_highest(&mut values)))
            });
            let values: Vec<_> = values.collect();
            (!values.is_empty()).then(|| Self { name: figure.name.clone(), unit: figure.unit.clone(), values })
        };
        first.iter().filter_map(spread_of).collect()
    }

    /// Its values as they are told.
    pub(crate) fn words(&self) -> String {
        let values = self.values.iter().map(|(label, values)| {
            let [median, lowest, highest] = values.map(digits);
            labelled(label, &format!("{median} ({lowest} to {highest})"))
        });
        format!("{} {}", values.collect::<Vec<_>>().join("  "), self.unit)
    }
}

/// Of values that there is at least one of; sorts them.
pub(crate) fn median_lowest_highest(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values.len() / 2, 0, values.len() - 1].map(|index| values[index])
}

fn labelled(label: &str, value: &str) -> String {
    if label.is_empty() { value.to_owned() } else { format!("{label} {value}") }
}

/// Three significant digits, and every digit before the point.
pub(crate) fn digits(value: f64) -> String {
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
        let labels = |count| samples(count).percentiles(1.0).into_iter().map(|(label, _)| label).collect::<Vec<_>>();
        assert_eq!(labels(19), [""; 0]);
        assert_eq!(labels(20), ["p50"]);
        assert_eq!(labels(999), ["p50", "p90"]);
        assert_eq!(labels(1_000), ["p50", "p90", "p99"]);
        assert_eq!(labels(10_000).last().map(String::as_str), Some("p99.9"));
        assert_eq!(labels(100_000).last().map(String::as_str), Some("p99.99"));
    }

    #[test]
    fn times_are_told_in_microseconds_and_as_multiples() {
        let hundred = samples(100);
        let (name, values) = hundred.figure("trip").words();
        assert_eq!((name.as_str(), values.as_str()), ("trip, 100 samples", "p50 50.0  p90 90.0  max 100 us"));
        assert_eq!(digits(hundred.multiples("trip", 25.0).values[0].1), "2.00");
        assert_eq!(digits(hundred.ratios("trip", &hundred).values[0].1), "1.00");
    }

    #[test]
    fn the_spread_is_the_median_with_the_lowest_and_the_highest() {
        let rounds = [3.0, 1.0, 20.0].map(|value| vec![Figure::single("requests", value, "")]);
        let [spread] = &Spread::of(&rounds)[..] else { panic!("one figure, one spread") };
        assert_eq!(spread.words().trim_end(), "3.00 (1.00 to 20.0)");
    }

    #[test]
    fn a_percentile_that_a_round_lacks_has_no_spread() {
        let rounds = [samples(100), samples(20)].map(|samples| vec![samples.figure("trip")]);
        assert!(!Spread::of(&rounds)[0].words().contains("p90"));
    }
}
