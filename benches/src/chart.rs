//! Plots as inline SVG: percentile curves, stalls over time, bars.

use crate::figures::digits;
use crate::page::escape;
use crate::plots::{Chart, Group, Line};
use std::fmt::Write;
use std::ops::Range;

/// The plane of a plot, and the margins for its axes, in user units.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 168.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// With more steps than this on the vertical axis, only the decades have labels.
const MOST_LABELS: usize = 14;

/// The height of a bar, and of the text beside a line.
const BAR: f64 = 20.0;

/// The room for names before bars, and for values behind them.
const NAMES: f64 = 196.0;
const VALUES: f64 = 150.0;

/// Told apart by people with any colour vision (Okabe and Ito).
const PALETTE: [&str; 10] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#8a9099", "#e69f00", "#7b3fa0", "#b00020"];

/// Each name has the same colour in all plots of a measurement; with more names than colours, some have the same.
#[derive(Debug)]
pub(crate) struct Colours(Vec<String>);

impl Colours {
    /// For all that these show.
    pub(crate) fn of(charts: &[Chart]) -> Self {
        let mut names = Vec::new();
        for chart in charts {
            let in_chart: Vec<&String> = match chart {
                Chart::Percentiles { curves, .. } => curves.iter().map(|line| &line.name).collect(),
                // Cores have colours of their own plots.
                Chart::Pauses { .. } => Vec::new(),
                Chart::Bars { groups, .. } => {
                    groups.iter().flat_map(|group| &group.bars).map(|(name, _)| name).collect()
                }
            };
            for name in in_chart {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        // What this is about has the first colours.
        names.sort_by_key(|name| !name.starts_with("seqcast"));
        Self(names)
    }

    fn colour(&self, name: &str) -> &'static str {
        let index = self.0.iter().position(|other| other == name).unwrap_or_default();
        PALETTE[index % PALETTE.len()]
    }
}

/// A heading and its plot.
pub(crate) fn draw(chart: &Chart, colours: &Colours) -> String {
    let (title, plot) = match chart {
        Chart::Percentiles { title, curves } => (title, percentiles(curves, colours)),
        Chart::Pauses { title, series } => (title, pauses(series)),
        Chart::Bars { title, groups } => (title, bars(groups, colours)),
    };
    format!("<h3>{}</h3>\n{plot}\n", escape(title))
}

/// Maps a range of values to a range of the plane.
#[derive(Clone, Debug)]
struct Scale {
    values: Range<f64>,
    plane: Range<f64>,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let share = (value - self.values.start) / (self.values.end - self.values.start);
        self.plane.start + share * (self.plane.end - self.plane.start)
    }
}

/// Logarithmic, from the step at or below the lowest to the one at or above the highest.
#[derive(Clone, Debug)]
struct LogScale {
    scale: Scale,
    steps: Vec<f64>,
}

impl LogScale {
    fn of(values: impl Iterator<Item = f64> + Clone, plane: Range<f64>) -> Self {
        let lowest = values.clone().filter(|&value| value > 0.0).fold(f64::MAX, f64::min);
        let highest = values.fold(f64::MIN_POSITIVE, f64::max);
        let (lowest, highest) = if lowest <= highest { (lowest, highest) } else { (1.0, 10.0) };
        let decades = lowest.log10().floor() as i32..=highest.log10().ceil() as i32;
        let steps: Vec<f64> =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade))).collect();
        let first = steps.iter().rposition(|&step| step <= lowest).unwrap_or_default();
        let last = steps.iter().position(|&step| step >= highest).unwrap_or(steps.len() - 1).max(first + 1);
        let steps = steps[first..=last].to_vec();
        let scale = Scale { values: steps[0].log10()..steps[steps.len() - 1].log10(), plane };
        Self { scale, steps }
    }

    fn at(&self, value: f64) -> f64 {
        self.scale.at(value.max(f64::MIN_POSITIVE).log10())
    }
}

/// A plot that has been begun: its frame and the lines of its vertical axis.
fn begin(microseconds: &LogScale) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    let is_crowded = microseconds.steps.len() > MOST_LABELS;
    for (index, &step) in microseconds.steps.iter().enumerate() {
        let y = microseconds.at(step);
        line(&mut svg, [LEFT, y, WIDTH - RIGHT, y], "#e3e7ec", 1.0);
        let label = time(step);
        // Each decade, and the lowest.
        if !is_crowded || index == 0 || label.starts_with('1') {
            text(&mut svg, LEFT - 8.0, y + 4.0, "end", "", &label);
        }
    }
    line(&mut svg, [LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM], "#1c2024", 1.0);
    svg
}

/// One, two or five times a power of ten of microseconds.
fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        1e6.. => (micros / 1e6, "s"),
        1e3.. => (micros / 1e3, "ms"),
        1.0.. => (micros, "µs"),
        _ => (micros * 1e3, "ns"),
    };
    format!("{value:.0} {unit}")
}

fn line(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
        escape(words)
    );
}

fn axis_label(svg: &mut String, words: &str) {
    text(svg, f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 8.0, "middle", "dim", words);
}

/// Names beside the ends of their lines, moved apart where they would overlap.
fn names(svg: &mut String, mut ends: Vec<(f64, &Line)>, colours: &Colours) {
    ends.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut free = TOP + 6.0;
    let spare = HEIGHT - BOTTOM - 15.0 * ends.len() as f64;
    for (index, (y, Line { name, .. })) in (0..).zip(ends) {
        let y = y.max(free).min(spare + 15.0 * f64::from(index + 1));
        let x = WIDTH - RIGHT + 10.0;
        line(svg, [x, y, x + 14.0, y], colours.colour(name), 3.0);
        text(svg, x + 20.0, y + 4.0, "start", "", name);
        free = y + 15.0;
    }
}

fn percentiles(curves: &[Line], colours: &Colours) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let nines = |quantile: f64| -(1.0 - quantile).log10();
    let highest = points().map(|&(quantile, _)| nines(quantile)).fold(1.0, f64::max);
    let across = Scale { values: 0.0..highest, plane: LEFT..WIDTH - RIGHT };
    let up = LogScale::of(points().map(|&(_, micros)| micros), HEIGHT - BOTTOM..TOP);
    let mut svg = begin(&up);
    let labels = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"];
    let ticks = (0u8..).map(f64::from).zip(labels).chain([(nines(0.5), "50 %")]);
    for (nine, label) in ticks.filter(|&(nine, _)| nine <= highest + 1e-9) {
        let x = across.at(nine);
        line(&mut svg, [x, TOP, x, HEIGHT - BOTTOM], "#e3e7ec", 1.0);
        text(&mut svg, x, HEIGHT - BOTTOM + 17.0, "middle", "", label);
    }
    let mut ends = Vec::new();
    for curve in curves {
        let path: Vec<_> =
            curve.points.iter().map(|&(quantile, micros)| (across.at(nines(quantile)), up.at(micros))).collect();
        let path_words: Vec<_> = path.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"><title>{}</title></polyline>",
            path_words.join(" "),
            colours.colour(&curve.name),
            escape(&curve.name)
        );
        ends.extend(path.last().map(|&(_, y)| (y, curve)));
    }
    names(&mut svg, ends, colours);
    axis_label(&mut svg, "share of all that took no longer; the time is logarithmic");
    svg + "</svg>"
}

fn pauses(series: &[Line]) -> String {
    let colours = &Colours(series.iter().map(|line| line.name.clone()).collect());
    let points = || series.iter().flat_map(|line| &line.points);
    let highest = points().map(|&(seconds, _)| seconds).fold(0.01, f64::max);
    let across = Scale { values: 0.0..highest, plane: LEFT..WIDTH - RIGHT };
    let up = LogScale::of(points().map(|&(_, micros)| micros), HEIGHT - BOTTOM..TOP);
    let mut svg = begin(&up);
    for tick in 0..=5 {
        let seconds = highest * f64::from(tick) / 5.0;
        text(&mut svg, across.at(seconds), HEIGHT - BOTTOM + 17.0, "middle", "", &digits(seconds));
    }
    for stalls in series {
        let colour = colours.colour(&stalls.name);
        let _ = writeln!(svg, "<g stroke=\"{colour}\" fill=\"{colour}\"><title>{}</title>", escape(&stalls.name));
        for &(seconds, micros) in &stalls.points {
            let (x, y) = (across.at(seconds), up.at(micros));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\" stroke-opacity=\"0.25\"/><circle cx=\"{x:.1}\" \
                 cy=\"{y:.1}\" r=\"1.8\"/>",
                HEIGHT - BOTTOM
            );
        }
        svg += "</g>\n";
    }
    let first = |index: usize| TOP + 15.0 * index as f64;
    names(&mut svg, series.iter().enumerate().map(|(index, line)| (first(index), line)).collect(), colours);
    axis_label(&mut svg, "seconds; the length of the stalls is logarithmic");
    svg + "</svg>"
}

fn bars(groups: &[Group], colours: &Colours) -> String {
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = rows as f64 * BAR + groups.len() as f64 * (BAR + 8.0) + 6.0;
    let highest = groups.iter().flat_map(|group| &group.bars).map(|(_, [_, _, highest])| *highest).fold(0.0, f64::max);
    let across = Scale { values: 0.0..highest.max(f64::MIN_POSITIVE), plane: NAMES..WIDTH - VALUES };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n");
    let mut y = 0.0;
    for Group { name, bars } in groups {
        y += BAR;
        text(&mut svg, 0.0, y, "start", "strong", name);
        y += 8.0;
        for (name, [median, lowest, highest]) in bars {
            let (x, middle, colour) = (across.at(0.0), y + BAR / 2.0, colours.colour(name));
            text(&mut svg, x - 8.0, middle + 4.0, "end", "", name);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                y + 2.0,
                (across.at(*median) - x).max(1.0),
                BAR - 4.0
            );
            line(&mut svg, [across.at(*lowest), middle, across.at(*highest), middle], "#1c2024", 1.5);
            let words = format!("{} ({} to {})", digits(*median), digits(*lowest), digits(*highest));
            text(&mut svg, across.at(*highest) + 8.0, middle + 4.0, "start", "", &words);
            y += BAR;
        }
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_holds_all_values_between_round_steps() {
        let scale = LogScale::of([3.0, 70.0, 0.0].into_iter(), 100.0..0.0);
        assert_eq!(
            scale.steps.iter().map(|&step| time(step)).collect::<Vec<_>>(),
            ["2 µs", "5 µs", "10 µs", "20 µs", "50 µs", "100 µs"]
        );
        assert!((scale.at(2.0) - 100.0).abs() < 1e-9 && scale.at(100.0).abs() < 1e-9);
        assert_eq!([0.5, 1e3, 2e6].map(time), ["500 ns", "1 ms", "2 s"]);
        assert_eq!(LogScale::of([].into_iter(), 1.0..0.0).steps.len(), 4, "nothing to plot is no panic");
    }

    #[test]
    fn a_name_has_one_colour_and_seqcast_the_first() {
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0)] };
        let chart = |names: [&str; 2]| Chart::Percentiles { title: String::new(), curves: names.map(line).into() };
        let charts = [chart(["bare-multicast", "seqcast"]), chart(["aeron", "bare-multicast"])];
        let colours = Colours::of(&charts);
        let all = ["seqcast", "bare-multicast", "aeron"].map(|name| colours.colour(name));
        assert_eq!(all, [PALETTE[0], PALETTE[1], PALETTE[2]]);
    }
}
