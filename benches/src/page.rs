//! A page with everything about some measurements: plots, tables, machines. One file that refers to no other.

use crate::chart;
use crate::figures::{Spread, digits};
use crate::report::Report;

const STYLE: &str = "
body { font: 15px/1.45 'DejaVu Sans', 'Segoe UI', Helvetica, Arial, sans-serif; color: #1c2024; background: #fff;
  max-width: 920px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 21px; margin: 44px 0 6px; border-top: 2px solid #1c2024;
  padding-top: 14px; } h3 { font-size: 15px; margin: 26px 0 4px; }
p, dl { margin: 6px 0; max-width: 860px; } .note { color: #5a6270; font-size: 13px; } code { font-size: 13px; }
.fail { background: #b00020; color: #fff; padding: 8px 12px; font-weight: bold; }
.doubt { background: #fff1c9; border-left: 4px solid #d49b00; padding: 4px 10px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; } dt { font-weight: bold; } dd { margin: 0;
  color: #3a414b; }
table { border-collapse: collapse; font-size: 13px; margin: 8px 0 14px; } th, td { padding: 3px 10px; text-align: right;
  border-bottom: 1px solid #dfe3e8; vertical-align: top; } th { background: #f4f6f8; }
th:first-child, td:first-child { text-align: left; padding-left: 4px; } td small { color: #6b7380; display: block;
  font-size: 11px; } nav a { margin-right: 14px; } svg { display: block; width: 100%; height: auto; } details {
  margin: 8px 0; } summary { cursor: pointer; color: #35509a; }
svg text { font: 12px 'DejaVu Sans', 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1c2024; }
svg .dim { fill: #5a6270; } svg .strong { font-weight: bold; }
";

/// The page for these reports.
pub(crate) fn render(reports: &[Report]) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
    page += &format!("<title>seqcast, measured</title>\n<style>{STYLE}</style>\n</head>\n<body>\n");
    page += "<h1>seqcast, measured</h1>\n<p class=\"note\">Every figure is of runs in which every message was checked: its \
             number, its bytes, once. A percentile is told only when ten samples lie beyond it. Medians over the rounds, with \
             the lowest and the highest.</p>\n";
    if reports.len() > 1 {
        let link = |report: &Report| format!("<a href=\"#{0}\">{0}</a>", escape(&report.command));
        page += &format!("<nav>{}</nav>\n", reports.iter().map(link).collect::<String>());
    }
    page.extend(reports.iter().map(section));
    page + "</body>\n</html>\n"
}

fn section(report: &Report) -> String {
    let name = escape(&report.command);
    let mut section = format!("<section id=\"{name}\">\n<h2>{name}</h2>\n<p>{}</p>\n", escape(&report.what));
    if let Some(failure) = &report.failure {
        section += &format!("<p class=\"fail\">FAIL: {}. There are no figures.</p>\n", escape(failure));
    }
    for doubt in report.machine.doubts() {
        section += &format!("<p class=\"doubt\">Doubtful: {}.</p>\n", escape(&doubt));
    }
    if !report.systems.is_empty() {
        let system = |(name, description)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(description));
        let systems = report.systems.iter().map(|system| (system.name.as_str(), system.description.as_str()));
        section += &format!("<dl>\n{}</dl>\n", systems.map(system).collect::<String>());
    }
    let colours = chart::Colours::of(&report.charts);
    section.extend(report.charts.iter().map(|chart| chart::draw(chart, &colours)));
    section += &tables(&report.medians);
    section += &format!(
        "<p class=\"note\">{}</p>\n<p class=\"note\"><code>seqcast-bench {}</code></p>\n",
        escape(&report.machine.describe()),
        escape(&report.arguments)
    );
    if !report.rounds.is_empty() {
        let row = |(name, values): (String, String)| {
            format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(&name), escape(&values))
        };
        section += "<details><summary>Every round</summary>\n";
        for (number, round) in (1..).zip(&report.rounds) {
            let rows: String = round.iter().map(|figure| row(figure.words())).collect();
            section += &format!("<h3>Round {number}</h3>\n<table>\n{rows}</table>\n");
        }
        section += "</details>\n";
    }
    section + "</section>\n"
}

/// Figures that have the same columns stand in one table.
fn tables(medians: &[Spread]) -> String {
    let columns = |spread: &Spread| {
        let labels: Vec<&str> = spread.values.iter().map(|(label, _)| label.as_str()).collect();
        // What has percentiles stands together, however many of them the samples carry.
        (spread.unit.clone(), labels.first().copied().unwrap_or_default().to_owned())
    };
    let table = |spreads: &[&Spread]| {
        let longest = spreads.iter().max_by_key(|spread| spread.values.len());
        let labels: Vec<&String> =
            longest.into_iter().flat_map(|spread| &spread.values).map(|(label, _)| label).collect();
        let unit = escape(&spreads[0].unit).replace("us", "µs");
        let head: String = labels.iter().map(|label| format!("<th>{}</th>", escape(label))).collect();
        let row = |spread: &&Spread| {
            let cell = |label: &&String| {
                let value = spread.values.iter().find(|(other, _)| other == *label);
                value.map_or("<td></td>".to_owned(), |(_, values)| {
                    let [median, lowest, highest] = values.map(digits);
                    format!("<td>{median}<small>{lowest} to {highest}</small></td>")
                })
            };
            let cells: String = labels.iter().map(cell).collect();
            format!("<tr><td>{}</td>{cells}<td>{unit}</td></tr>\n", escape(&spread.name))
        };
        let rows: String = spreads.iter().map(row).collect();
        format!("<table>\n<tr><th>median (lowest to highest)</th>{head}<th></th></tr>\n{rows}</table>\n")
    };
    let mut groups: Vec<Vec<&Spread>> = Vec::new();
    for spread in medians {
        match groups.iter_mut().find(|group| columns(group[0]) == columns(spread)) {
            Some(group) => group.push(spread),
            None => groups.push(vec![spread]),
        }
    }
    groups.iter().map(|spreads| table(spreads)).collect()
}

/// As text between tags or in an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
