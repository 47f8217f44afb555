//! How far behind one can be, in words and as JSON.

use crate::progress::count;
use crate::times;
use seqcast_recovery::Headroom;
use serde_json::{Value, json};

/// `812,345 messages (61,738,220 bytes of the ring), 8.12 s at the present rate`
#[must_use]
pub fn in_words(headroom: &Headroom) -> String {
    let time = match headroom.time {
        Some(time) => format!("{} at the present rate", times::in_words(time.into())),
        None => "nothing published lately".to_owned(),
    };
    format!("{} ({} of the ring), {time}", count(headroom.messages, "message"), count(headroom.bytes, "byte"))
}

/// The same in short, for the line about long work.
#[must_use]
pub fn in_brief(headroom: &Headroom) -> String {
    match headroom.time {
        Some(time) => times::in_words(time.into()),
        None => count(headroom.messages, "message"),
    }
}

/// `null` when it is not known.
#[must_use]
pub fn json(headroom: Option<&Headroom>) -> Value {
    headroom.map_or(Value::Null, |Headroom { messages, bytes, time }| {
        json!({
            "messages": messages,
            "bytes": bytes,
            "time_ns": time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let mut headroom = Headroom { messages: 1_000, bytes: 64_000, time: Some(Duration::from_millis(1_500)) };
        assert_eq!(in_words(&headroom), "1,000 messages (64,000 bytes of the ring), 1.50 s at the present rate");
        assert_eq!(in_brief(&headroom), "1.50 s");
        let known = json!({ "messages": 1_000, "bytes": 64_000, "time_ns": 1_500_000_000 });
        assert_eq!(json(Some(&headroom)), known);
        headroom.time = None;
        assert_eq!(in_words(&headroom), "1,000 messages (64,000 bytes of the ring), nothing published lately");
        assert_eq!(in_brief(&headroom), "1,000 messages");
        assert_eq!((json(Some(&headroom))["time_ns"].clone(), json(None)), (Value::Null, Value::Null));
    }
}
