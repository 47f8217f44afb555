//! Publishers that a subscriber hears, and what subscribers say of their losses.

use crate::support::{LINGER, Place, Running, number};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

/// The pipe to the input of a publisher.
pub(crate) type Feed = ChildStdin;

/// A publisher that is fed `first` and waits for more; `subscriber` has heard it.
pub(crate) fn publish_to_listener(
    place: &Place,
    subscriber: &mut Running,
    first: &[u8],
    arguments: &[&str],
) -> (Running, Feed) {
    let publish = place.publish(Path::new("-"), &LINGER).and(&["--format", "blocks"]).and(arguments);
    let mut publisher = publish.with_input_pipe().start();
    let mut pipe = publisher.take_input();
    pipe.write_all(first).unwrap();
    subscriber.wait_for_words("is heard");
    (publisher, pipe)
}

/// The lost ranges of a summary: first, next, cause.
pub(crate) fn lost_ranges(summary: &Value) -> Vec<(u64, u64, &str)> {
    let ranges = summary["lost_ranges"].as_array().unwrap();
    ranges
        .iter()
        .map(|range| (number(range, "first"), number(range, "next"), range["cause"].as_str().unwrap()))
        .collect()
}
