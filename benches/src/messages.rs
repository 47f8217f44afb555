//! The messages of a run, and what a subscriber was told held against them.

use seqcast::market::{BUFFER_BYTES, MarketData};
use seqcast_recovery::Random;
use seqcast_subscriber::Event;

/// How many messages of one length differ from each other. The largest prime below 2^16: their table, 8 bytes for each,
/// stays in the second-level cache, and no stride of a power of two meets the same message again.
const UNIFORM_PERIOD: usize = 65_521;

/// After how many messages market data begins again: far behind the opening of the day, 16 MB of messages.
const MARKET_PERIOD: usize = 1 << 19;

/// Messages made beforehand, so that making them costs the publisher nothing while it is measured.
#[derive(Debug)]
pub(crate) enum Messages {
    /// Generated market data, of many lengths, over and over.
    Market { bytes: Vec<u8>, ends: Vec<u32> },
    /// Any number of messages of one length; each begins 8 random bytes behind the one before it.
    Uniform { table: Vec<u8>, length: usize },
}

impl Messages {
    /// Makes any number of messages of generated market data.
    pub(crate) fn market(seed: u64) -> Self {
        let mut data = MarketData::new(seed);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(MARKET_PERIOD));
        let mut buffer = [0; BUFFER_BYTES];
        for _ in 0..MARKET_PERIOD {
            let length = data.write_next(&mut buffer);
            bytes.extend_from_slice(&buffer[..length]);
            ends.push(bytes.len() as u32);
        }
        Self::Market { bytes, ends }
    }

    /// Makes messages of `length` random bytes.
    pub(crate) fn uniform(length: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let words = UNIFORM_PERIOD + length.div_ceil(8);
        Self::Uniform { table: (0..words).flat_map(|_| random.next_u64().to_ne_bytes()).collect(), length }
    }

    /// The mean length.
    pub(crate) fn mean_bytes(&self) -> f64 {
        match self {
            Self::Market { bytes, ends } => bytes.len() as f64 / ends.len() as f64,
            Self::Uniform { length, .. } => *length as f64,
        }
    }

    /// The message with this index: its number less one.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        self.from(index).message()
    }

    /// The message with this index, then one after the other.
    pub(crate) fn from(&self, index: usize) -> Cursor<'_> {
        match self {
            Self::Market { bytes, ends } => {
                let place = index % ends.len();
                let begin = place.checked_sub(1).map_or(0, |before| ends[before] as usize);
                Cursor { bytes, ends, length: 0, begin, end: ends[place] as usize, place }
            }
            Self::Uniform { table, length } => {
                let place = index % UNIFORM_PERIOD;
                Cursor { bytes: table, ends: &[], length: *length, begin: place * 8, end: place * 8 + length, place }
            }
        }
    }
}

/// Goes from message to message, for a few instructions each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'m> {
    bytes: &'m [u8],
    /// Where messages of different lengths end; empty if all have the same.
    ends: &'m [u32],
    length: usize,
    /// Where the message lies, and which of the period it is.
    begin: usize,
    end: usize,
    place: usize,
}

impl<'m> Cursor<'m> {
    /// The message.
    #[inline]
    pub(crate) fn message(&self) -> &'m [u8] {
        &self.bytes[self.begin..self.end]
    }

    /// Goes to the next one.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.place += 1;
        if self.ends.is_empty() {
            if self.place == UNIFORM_PERIOD {
                (self.place, self.begin) = (0, 0);
            } else {
                self.begin += 8;
            }
            self.end = self.begin + self.length;
        } else {
            self.begin = self.end;
            if self.place == self.ends.len() {
                (self.place, self.begin) = (0, 0);
            }
            self.end = self.ends[self.place] as usize;
        }
    }
}

/// Holds what a subscriber is told against what was published: each number once, in order, byte for byte, or told lost.
#[derive(Debug)]
pub(crate) struct Check<'m> {
    messages: &'m Messages,
    next_index: usize,
    /// At the message that comes next.
    expected: Cursor<'m>,
    lost: u64,
    skipped: u64,
    has_ended: bool,
    violation: Option<String>,
}

impl<'m> Check<'m> {
    /// Expects these messages from the first on.
    pub(crate) fn new(messages: &'m Messages) -> Self {
        Self {
            messages,
            next_index: 0,
            expected: messages.from(0),
            lost: 0,
            skipped: 0,
            has_ended: false,
            violation: None,
        }
    }

    /// Takes the next event.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        let next = self.next_index as u64 + 1;
        match event {
            Event::Message(message) => {
                self.hold_against(next, message.number, message.payload);
            }
            Event::Lost(loss) => {
                if loss.range.start() != next {
                    self.blame(format!("{} lost where {next} was next", loss.range));
                }
                self.lost += loss.range.count();
                self.skip_to(self.next_index + loss.range.count() as usize);
            }
            Event::EndOfSession(_) => self.has_ended = true,
            Event::Gap(_) | Event::Recovered(_) | Event::NewSession(_) | Event::Rewound(_) | Event::Status(_) => {}
        }
    }

    /// Takes the next message from who delivers none that comes behind a later one; what is left out counts as skipped.
    #[inline]
    pub(crate) fn take(&mut self, number: u64, payload: &[u8]) {
        let next = self.next_index as u64 + 1;
        if number > next {
            self.skipped += number - next;
            self.skip_to(number as usize - 1);
        }
        self.hold_against(next.max(number), number, payload);
    }

    #[inline]
    fn hold_against(&mut self, next: u64, number: u64, payload: &[u8]) {
        if number != next || payload != self.expected.message() {
            self.blame_message(number, next);
        }
        self.next_index += 1;
        self.expected.advance();
    }

    #[cold]
    #[inline(never)]
    fn blame_message(&mut self, number: u64, next: u64) {
        self.blame(format!("message {number} is not what was published as {next}"));
    }

    #[cold]
    fn skip_to(&mut self, index: usize) {
        self.next_index = index;
        self.expected = self.messages.from(index);
    }

    /// How many messages were left out so far.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many messages were delivered or told lost.
    pub(crate) fn accounted(&self) -> usize {
        self.next_index
    }

    /// How many were told lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the end of session was told.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// # Errors
    ///
    /// The first violation.
    pub(crate) fn so_far(&self) -> Result<(), String> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// # Errors
    ///
    /// When not exactly `count` messages were delivered, each as it should be.
    pub(crate) fn complete(&self, count: usize) -> Result<(), String> {
        self.so_far()?;
        match (self.next_index, self.lost + self.skipped) {
            (accounted, 0) if accounted == count => Ok(()),
            (accounted, lost) => Err(format!("{} of {count} messages delivered, {lost} lost", accounted as u64 - lost)),
        }
    }

    #[cold]
    fn blame(&mut self, words: String) {
        self.violation.get_or_insert(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seqcast_protocol::SequenceRange;
    use seqcast_recovery::{Loss, LossCause, Message};

    fn message(number: u64, payload: &[u8]) -> Event<'_> {
        Event::Message(Message { number, payload, received_at: None })
    }

    #[test]
    fn what_was_published_is_complete() {
        for messages in [Messages::market(1), Messages::uniform(100, 1)] {
            let mut check = Check::new(&messages);
            (0..3).for_each(|index| check.note(&message(index as u64 + 1, messages.get(index))));
            check.complete(3).unwrap();
            check.complete(4).unwrap_err();
        }
    }

    #[test]
    fn cursor_goes_round_and_meets_what_the_index_says() {
        for (messages, period) in [(Messages::market(1), MARKET_PERIOD), (Messages::uniform(30, 1), UNIFORM_PERIOD)] {
            let mut cursor = messages.from(period - 3);
            for index in period - 3..period + 3 {
                assert_eq!(cursor.message(), messages.get(index));
                cursor.advance();
            }
            assert_eq!(messages.get(period), messages.get(0));
        }
    }

    #[test]
    fn neighbours_differ_and_no_message_is_empty() {
        for messages in [Messages::market(1), Messages::uniform(16, 1)] {
            for index in 1..9 {
                assert_ne!(messages.get(index), messages.get(index - 1));
                assert!(!messages.get(index).is_empty());
            }
        }
    }

    #[test]
    fn a_duplicate_a_skip_and_an_altered_byte_are_violations() {
        let messages = Messages::uniform(16, 1);
        let altered: Vec<u8> = messages.get(1).iter().map(|byte| byte ^ 1).collect();
        for second in [message(1, messages.get(0)), message(3, messages.get(2)), message(2, &altered)] {
            let mut check = Check::new(&messages);
            check.note(&message(1, messages.get(0)));
            check.so_far().unwrap();
            check.note(&second);
            check.so_far().unwrap_err();
        }
    }

    #[test]
    fn a_loss_is_told_and_not_complete() {
        let messages = Messages::uniform(16, 1);
        let mut check = Check::new(&messages);
        check.note(&Event::Lost(Loss { range: SequenceRange::new(1, 3), cause: LossCause::Overwritten }));
        check.note(&message(3, messages.get(2)));
        check.so_far().unwrap();
        assert_eq!(check.complete(3), Err("1 of 3 messages delivered, 2 lost".to_owned()));
    }
}
