//! What is plotted of the rounds of a measurement.

use crate::figures::{Samples, median_lowest_highest};
use crate::report::Round;
use crate::stalls::Pauses;
use serde::{Deserialize, Serialize};

/// Times that become a curve of percentiles.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) chart: String,
    pub(crate) name: String,
    pub(crate) samples: Samples,
}

/// A value that becomes a bar.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) chart: String,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// What is plotted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Chart {
    /// Times in microseconds over their quantiles.
    Percentiles { title: String, curves: Vec<Line> },
    /// Times in microseconds over seconds.
    Pauses { title: String, series: Vec<Line> },
    /// Medians with the lowest and the highest.
    Bars { title: String, groups: Vec<Group> },
}

/// A named line through points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Bars that stand together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) bars: Vec<(String, [f64; 3])>,
}

/// Everything that the rounds have to plot.
pub(crate) fn of(rounds: &[Round]) -> Vec<Chart> {
    [bar_charts(rounds), percentile_charts(rounds), pause_charts(rounds)].concat()
}

/// The items of all rounds that belong together, in the order in which they first appear.
fn grouped<'a, T: 'a>(items: impl Iterator<Item = &'a T>, key: impl Fn(&T) -> &str) -> Vec<(String, Vec<&'a T>)> {
    let mut groups: Vec<(String, Vec<&T>)> = Vec::new();
    for item in items {
        let name = key(item);
        match groups.iter_mut().find(|(other, _)| other == name) {
            Some((_, group)) => group.push(item),
            None => groups.push((name.to_owned(), vec![item])),
        }
    }
    groups
}

/// All rounds together.
fn percentile_charts(rounds: &[Round]) -> Vec<Chart> {
    let chart = |(title, curves): (String, Vec<&Curve>)| {
        let line = |(name, curves): (String, Vec<&Curve>)| {
            let mut all = Samples::new();
            curves.iter().for_each(|curve| all.add(&curve.samples));
            Line { name, points: quantiles(&all) }
        };
        let curves = grouped(curves.into_iter(), |curve| &curve.name).into_iter().map(line).collect();
        Chart::Percentiles { title, curves }
    };
    grouped(rounds.iter().flat_map(|round| &round.curves), |curve| &curve.chart).into_iter().map(chart).collect()
}

/// As far as the samples carry them, closer together the nearer to 1.
fn quantiles(samples: &Samples) -> Vec<(f64, f64)> {
    /// Points for each nine. Arbitrary.
    const POINTS: i32 = 40;
    let quantile = |step: i32| 1.0 - 10f64.powf(f64::from(-step) / f64::from(POINTS));
    let carried = (0..).map(quantile).take_while(|&quantile| samples.carries(quantile));
    carried.map(|quantile| (quantile, samples.quantile_us(quantile))).collect()
}

fn bar_charts(rounds: &[Round]) -> Vec<Chart> {
    let chart = |(title, bars): (String, Vec<&Bar>)| {
        let group = |(name, bars): (String, Vec<&Bar>)| {
            let bar = |(name, bars): (String, Vec<&Bar>)| {
                let mut values: Vec<f64> = bars.iter().map(|bar| bar.value).collect();
                (name, median_lowest_highest(&mut values))
            };
            Group { name, bars: grouped(bars.into_iter(), |bar| &bar.name).into_iter().map(bar).collect() }
        };
        Chart::Bars { title, groups: grouped(bars.into_iter(), |bar| &bar.group).into_iter().map(group).collect() }
    };
    grouped(rounds.iter().flat_map(|round| &round.bars), |bar| &bar.chart).into_iter().map(chart).collect()
}

/// Round after round.
fn pause_charts(rounds: &[Round]) -> Vec<Chart> {
    let chart = |(number, round): (usize, &Round)| {
        let line = |pauses: &Pauses| Line { name: pauses.name.clone(), points: pauses.points() };
        let series = round.pauses.iter().map(line).collect();
        let title = format!("Stalls of the machine itself, round {number}: the longest at each time");
        Chart::Pauses { title, series }
    };
    (1..).zip(rounds).filter(|(_, round)| !round.pauses.is_empty()).map(chart).collect()
}
