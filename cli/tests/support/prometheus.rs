//! A strict parser of the Prometheus text format 0.0.4: it panics at whatever the format, or its conventions, do not allow.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// A metric: its type, and its samples by name.
#[derive(Debug, Default)]
pub(crate) struct Metric {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<(String, Labels, f64)>,
}

/// Metrics by name.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, Metric>);

impl Metrics {
    /// Reads a page.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line has its end");
        let mut metrics = BTreeMap::<String, Metric>::new();
        let mut series = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and its help");
                assert!(is_name(name, true), "{line}");
                let metric = Metric { help: help.to_owned(), ..Metric::default() };
                assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and its type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let metric = metrics.get_mut(name).filter(|_| name == current).expect("help, then type");
                assert!(metric.kind.is_empty() && metric.samples.is_empty(), "{line}");
                kind.clone_into(&mut metric.kind);
            } else {
                let (name, labels, value) = sample(line);
                assert!(series.insert((name.clone(), labels.clone())), "twice: {line}");
                let metric = metrics.get_mut(&current).expect("a sample has a metric");
                let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is under {current}"));
                let suffixes: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                assert!(labels.contains_key("le") == (suffix == "_bucket"), "{line}");
                metric.samples.push((name, labels, value));
            }
        }
        for (name, metric) in &metrics {
            metric.check(name);
        }
        for name in metrics.iter().filter(|(_, metric)| metric.kind == "histogram").map(|(name, _)| name) {
            for suffix in ["_bucket", "_sum", "_count"] {
                assert!(!metrics.contains_key(&format!("{name}{suffix}")), "{name}{suffix} is taken");
            }
        }
        Self(metrics)
    }

    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> &Metric {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0.keys()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The only sample of this name with these labels among others.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let metric = name.strip_suffix("_bucket").or(name.strip_suffix("_sum")).or(name.strip_suffix("_count"));
        let metric = self.metric(metric.filter(|metric| self.has(metric)).unwrap_or(name));
        let has = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|it| it == value));
        let mut found = metric.samples.iter().filter(|(it, of, _)| it == name && has(of));
        let value = found.next().unwrap_or_else(|| panic!("no {name} {labels:?} in {metric:#?}")).2;
        assert!(found.next().is_none(), "more than one {name} {labels:?}");
        value
    }
}

impl Metric {
    #[track_caller]
    fn check(&self, name: &str) {
        assert!(!self.kind.is_empty() && !self.help.is_empty() && !self.samples.is_empty(), "{name}: {self:?}");
        assert_eq!(name.ends_with("_total"), self.kind == "counter", "{name} is a {}", self.kind);
        assert!(self.kind == "gauge" || self.samples.iter().all(|(_, _, value)| *value >= 0.0), "{name}");
        if self.kind == "histogram" {
            let mut series = BTreeMap::<Labels, (Vec<(f64, f64)>, [Option<f64>; 2])>::new();
            for (sample, labels, value) in &self.samples {
                let mut labels = labels.clone();
                let le = labels.remove("le");
                let (buckets, ends) = series.entry(labels).or_default();
                match le {
                    Some(le) => buckets.push((le.replace("+Inf", "inf").parse().unwrap(), *value)),
                    None => ends[usize::from(sample.ends_with("_count"))] = Some(*value),
                }
            }
            for (labels, (buckets, [sum, count])) in series {
                assert!(buckets.is_sorted_by(|(a, few), (b, many)| a < b && few <= many), "{name} {labels:?}");
                let (last, all) = *buckets.last().expect("a histogram has buckets");
                assert!(last.is_infinite() && Some(all) == count && sum.is_some(), "{name} {labels:?}");
            }
        }
    }
}

fn is_name(name: &str, has_colons: bool) -> bool {
    let is_first = |first: char| first.is_ascii_alphabetic() || first == '_' || has_colons && first == ':';
    name.starts_with(is_first) && name.chars().all(|next| is_first(next) || next.is_ascii_digit())
}

/// Reads `name{label="value",..} number`.
#[track_caller]
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label, false) && !label.starts_with("__"), "{label:?} in {line}");
            let (value, after) = quoted(value, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice in {line}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{after:?} in {line}"));
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let is_plain = |digit: char| digit.is_ascii_digit() || matches!(digit, '.' | '-');
    assert!(!number.is_empty() && number.chars().all(is_plain), "{line}");
    (name.to_owned(), labels, number.parse().unwrap())
}

/// Reads a value up to its quotation mark.
#[track_caller]
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, same @ ('\\' | '"'))) => same,
                other => panic!("{other:?} is escaped in {line}"),
            }),
            _ => value.push(character),
        }
    }
    panic!("no end: {line}")
}
