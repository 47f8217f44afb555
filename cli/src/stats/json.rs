//! Everything that was read, as JSON. Moments are nanoseconds since 1970.

use super::reading::{Process, Reading};
use crate::times;
use seqcast_recovery::Nanos;
use seqcast_stats::{Entry, HistogramEntry, Kind, Row, Snapshot, State, TableEntry, Unit, bucket_end};
use serde_json::{Map, Value, json};

/// The document: the processes that are wanted, and the files that were skipped.
pub(super) fn document<'a>(reading: &Reading, processes: impl Iterator<Item = &'a Process>) -> Value {
    let skipped = reading.skipped.iter().map(|(path, error)| json!({ "file": path, "why": error.to_string() }));
    json!({
        "time": times::utc(reading.unix),
        "processes": processes.map(|process| self::process(process, reading)).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

/// Who it is.
pub(super) fn identity(process: &Process) -> Map<String, Value> {
    let Snapshot { role, process: id, path, .. } = &process.snapshot;
    let identity = json!({ "role": role, "session": process.session, "process": id, "file": path });
    let Value::Object(identity) = identity else { unreachable!("it is written as an object") };
    identity
}

fn process(process: &Process, reading: &Reading) -> Value {
    let snapshot = &process.snapshot;
    let mut object = identity(process);
    let mut add = |name: &str, value: Value| object.insert(name.to_owned(), value);
    add("state", json!(process.state()));
    if let State::Stalled(quiet) = snapshot.state {
        add("stalled_ns", json!(quiet.0));
    }
    add("made_at_ns", json!(snapshot.made_at_unix_ns));
    add("written_at_ns", json!(reading.unix_of(snapshot.written_at).0));
    add("facts", snapshot.facts.iter().map(|(name, text)| (name.clone(), json!(text))).collect());
    let entry = |entry: &Entry| {
        json!({
            "name": entry.name,
            "kind": match entry.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            },
            "unit": unit(&entry.unit),
            "labels": labels(&entry.labels),
            "value": value(&entry.unit, entry.value, reading),
        })
    };
    add("values", snapshot.entries.iter().map(entry).collect());
    add("histograms", snapshot.histograms.iter().map(histogram).collect());
    add("tables", snapshot.tables.iter().map(|table| (table.name.clone(), rows(table, reading))).collect());
    add("unseen", json!(process.unseen));
    Value::Object(object)
}

fn labels(labels: &[(String, String)]) -> Value {
    labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

/// The unit in a word: `one_of` without its words, because the value is one of them.
fn unit(unit: &Unit) -> String {
    if matches!(unit, Unit::OneOf(_)) { "one_of".to_owned() } else { unit.to_string() }
}

fn value(unit: &Unit, value: u64, reading: &Reading) -> Value {
    match unit {
        Unit::Flag => json!(value != 0),
        Unit::Time if value == 0 => Value::Null,
        Unit::Time => json!(reading.unix_of(Nanos(value)).0),
        Unit::Address => json!(Unit::address(value).map(|address| address.to_string())),
        Unit::OneOf(words) => match usize::try_from(value).ok().and_then(|index| words.get(index)) {
            Some(word) => json!(word),
            None => json!(value),
        },
        Unit::Count(_) | Unit::Bytes | Unit::Nanoseconds | Unit::Number | Unit::Session => json!(value),
    }
}

/// The buckets that are not empty are pairs: one past their largest value, `null` for the last, which has no end; and how many.
fn histogram(histogram: &HistogramEntry) -> Value {
    let HistogramEntry { name, unit, count, sum, largest, buckets, .. } = histogram;
    let end = |bucket: usize| if bucket + 1 < buckets.len() { json!(bucket_end(bucket)) } else { Value::Null };
    let filled = buckets.iter().enumerate().filter(|&(_, &count)| count > 0);
    json!({
        "name": name,
        "unit": self::unit(unit),
        "labels": labels(&histogram.labels),
        "count": count,
        "sum": sum,
        "largest": largest,
        "p50": histogram.quantile(0.5),
        "p99": histogram.quantile(0.99),
        "buckets": filled.map(|(bucket, count)| json!([end(bucket), count])).collect::<Vec<_>>(),
    })
}

fn rows(table: &TableEntry, reading: &Reading) -> Value {
    let row = |row: &Row| {
        let field = |(name, unit): &(String, Unit)| {
            let value = match unit {
                Unit::Session => json!(table.session(row, name).map(|session| session.to_string())),
                _ => table.value(row, name).map_or(Value::Null, |word| value(unit, word, reading)),
            };
            (name.clone(), value)
        };
        let number = std::iter::once(("row".to_owned(), json!(row.number)));
        number.chain(table.fields.iter().map(field)).collect::<Value>()
    };
    table.rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::{CLIENT, Keeper, litter};
    use crate::stats::testing::Place;
    use seqcast_transport::Clock;

    #[test]
    fn everything_is_in_the_document() {
        let place = Place::new("json");
        let start = Clock::now();
        let mut publisher = Keeper::publisher(&place.0, "EQ20261121");
        let mut subscriber = Keeper::subscriber(&place.0, "EQ20261121");
        publisher.add_client();
        subscriber.set("heard", 1);
        subscriber.set("request_target 0", Unit::address_word(CLIENT));
        subscriber.write(&[("line_heard_at a", (start - Nanos::from_secs(2)).0), ("gap_policy", 2)]);
        subscriber.histogram("recovery").record(17);
        subscriber.close_gap(1_204, 1_220, start, true);
        let skipped = litter(&place.0);
        let reading = place.read_at(start);
        let document = document(&reading, reading.processes.iter());
        let [publisher, subscriber] = &document["processes"].as_array().unwrap()[..] else { panic!("{document}") };
        assert_eq!(publisher["tables"]["clients"][0]["address"], json!(CLIENT.to_string()));
        assert_eq!((&subscriber["state"], &subscriber["session"]), (&json!("live"), &json!("EQ20261121")));
        assert_eq!(subscriber["facts"]["recover_from"], json!("10.1.0.5:30100"));
        let value = |name: &str, labels: Value| {
            let values = subscriber["values"].as_array().unwrap();
            values.iter().find(|it| it["name"] == name && it["labels"] == labels).unwrap()["value"].clone()
        };
        assert_eq!(value("messages", json!({})), json!(0), "what is 0, too");
        assert_eq!(value("heard", json!({})), json!(true));
        assert_eq!(value("gap_policy", json!({})), json!("stop"));
        assert_eq!(value("request_target", json!({ "target": "0" })), json!(CLIENT.to_string()));
        assert_eq!(value("line_heard_at", json!({ "line": "a" })), json!(reading.unix.0 - 2_000_000_000));
        assert_eq!(value("line_heard_at", json!({ "line": "b" })), Value::Null);
        assert_eq!(subscriber["histograms"][0]["buckets"], json!([[18, 1]]));
        let gap = &subscriber["tables"]["gaps"][0];
        assert_eq!(
            (&gap["origin"], &gap["lost"], &gap["first"]),
            (&json!("kernel_drop"), &json!("no_answer"), &json!(1_204))
        );
        assert_eq!(gap["opened_at"], json!(reading.unix.0 - 3_140_000));
        assert_eq!(document["skipped"].as_array().unwrap().len(), skipped);
    }
}
