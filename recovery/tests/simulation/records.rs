//! The judge of what a subscriber remembers of its gaps, by what was handed in, told and asked for.

use crate::economy::Economy;
use crate::oracle::{Oracle, Told};
use seqcast_protocol::SequenceNumber;
use seqcast_recovery::{GapRecord, Line, Nanos, Source, Subscription};

/// The records that have been judged.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) judged: u64,
    last: Option<GapRecord>,
}

impl Records {
    /// Judges what is new.
    pub(crate) fn judge(&mut self, subscription: &Subscription, oracle: &Oracle, economy: &Economy) {
        let last = self.last;
        for record in subscription.records().rev().take_while(|record| Some(**record) != last) {
            self.judged += 1;
            judge(record, oracle, economy);
        }
        self.last = subscription.records().next_back().copied();
    }
}

fn judge(record: &GapRecord, oracle: &Oracle, economy: &Economy) {
    let range = record.range;
    let view = oracle.view.as_ref().expect("a session comes before its gaps");
    assert_eq!(record.session, view.session, "{record:?}");
    let told_in_session = || {
        let told = oracle.told[oracle.born..].iter().rev().map(|(_, told)| told);
        told.take_while(|told| !matches!(told, Told::NewSession(_) | Told::Rewound(..)))
    };
    assert!(told_in_session().any(|told| *told == Told::Gap(range, record.origin)), "{record:?} was not told");
    let losses = told_in_session().filter_map(|told| match told {
        Told::Lost(lost, cause) if !lost.intersection(range).is_empty() => Some(*cause),
        _ => None,
    });
    assert_eq!(record.lost, losses.last(), "{record:?}: the first cause");
    if !oracle.is_roomy {
        return;
    }
    let known = view.known[range.start() as usize];
    assert_eq!(
        (record.opened_at, record.opened_by, record.opening_kind),
        (known.at, known.by, known.kind),
        "{record:?}"
    );
    let arrivals = || (range.start()..range.end()).filter_map(|number: SequenceNumber| view.arrival(number));
    let from = |wanted: &dyn Fn(Source) -> bool| arrivals().filter(|(_, source)| wanted(*source)).count() as u64;
    let by_lines = Line::ALL.map(|line| from(&|source| source == Source::Line(line)));
    let by_answers = from(&|source| matches!(source, Source::RequestTarget(_)));
    // What came when it had been given up is not counted.
    let is_exact = record.lost.is_some() || (record.by_lines, record.by_answers) == (by_lines, by_answers);
    assert!(is_exact, "{record:?}, and {by_lines:?} and {by_answers} arrived");
    let requests = economy.asked.iter().filter(|asked| {
        asked.session == record.session && range.contains(asked.range.start()) && asked.at >= record.opened_at
    });
    assert_eq!(u64::from(record.requests), requests.clone().count() as u64, "{record:?}");
    assert_eq!(record.asked_after, requests.map(|asked| asked.at - known.at).next(), "{record:?}");
    if record.lost.is_none() {
        assert_eq!(by_lines[0] + by_lines[1] + by_answers, range.count(), "{record:?}");
        let filled_at = arrivals().map(|(at, _)| at).fold(Nanos::ZERO, Nanos::max);
        assert_eq!(record.elapsed, filled_at - known.at, "{record:?}");
    }
}
