//! The settings of a subscription.

use crate::{Nanos, RequestConfig};
use core::str::FromStr;
use seqcast_protocol::{SequenceNumber, SessionId, SessionIdError};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message that is still retained. Until the first message is delivered, an answer that older ones are
    /// overwritten moves the start and is no loss. Without a request address: at the first message heard.
    #[default]
    Oldest,
    /// At the first message heard.
    Live,
    /// At this number (a stored offset plus one), `1..`. Of a session that is followed later, at the oldest.
    At(SequenceNumber),
}

/// Which session to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionChoice {
    /// The first one heard; after it has ended or fallen silent, the next one heard that was not left before.
    #[default]
    Any,
    /// This one; all others are counted.
    Only(SessionId),
}

impl From<SessionId> for SessionChoice {
    fn from(session: SessionId) -> Self {
        Self::Only(session)
    }
}

/// `any`, or the name of one.
impl FromStr for SessionChoice {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if text.eq_ignore_ascii_case("any") { Ok(Self::Any) } else { text.parse().map(Self::Only) }
    }
}

/// What to do about a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapPolicy {
    /// Wait for it to be filled; give it up when nothing has been filled for `give_up`.
    Wait {
        /// Counted from the latest of these: the gap was found, an answer filled anything, a line filled the first number
        /// that was missing.
        give_up: Nanos,
    },
    /// Report it lost at once and deliver on.
    Skip,
    /// Deliver nothing beyond it: the subscription stops.
    Stop,
}

impl Default for GapPolicy {
    /// Waits 10 s.
    fn default() -> Self {
        Self::Wait { give_up: Nanos::from_secs(10) }
    }
}

/// What to do when the numbers of a session begin again: see [`Event::Rewound`](crate::Event::Rewound).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewindPolicy {
    /// Start over from the new number.
    #[default]
    StartOver,
    /// Deliver nothing more: the subscription stops.
    Stop,
}

/// The settings of a subscription; every one has a default that fits market data on a local network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionConfig {
    /// Which session to take.
    pub session: SessionChoice,
    /// Where to begin.
    pub start: Start,
    /// A stored offset: of this session, begin at this number instead, `1..`.
    pub resume: Option<(SessionId, SequenceNumber)>,
    /// What to do about a gap.
    pub gap_policy: GapPolicy,
    /// What to do when the numbers begin again.
    pub rewind_policy: RewindPolicy,
    /// Which lines there are, by `Line::index`. One that is heard all the same is taken for one that there is.
    pub lines: [bool; 2],
    /// How many request addresses there are; 0: nothing is asked for.
    pub request_targets: usize,
    /// The limits of asking.
    pub request: RequestConfig,
    /// Whether a heartbeat from a request address means "nothing below this is retained". Off for servers that unicast
    /// ordinary heartbeats.
    pub trust_oldest: bool,
    /// How long no line may carry the session before it counts as silent. 3 s: three heartbeats of the slowest venues,
    /// thirty of ours.
    pub silent_after: Nanos,
    /// After how long a line that has not carried what the other has counts as behind, or as silent if it was not heard at
    /// all. 100 ms: ten times the longest wait for it.
    pub line_behind_after: Nanos,
    /// Whether the bytes of each message are compared with those of its other copies, as far back as the reorder window is
    /// large. Takes as much memory again, and a pass over each message.
    pub compare_copies: bool,
    /// How many messages beyond a gap can be kept, rounded up to a power of two. 262,144, for which 5 MiB are
    /// reserved: 13 ms of 20 million messages/s.
    pub window_messages: usize,
    /// How many bytes beyond a gap can be kept. 32 MiB: 262,144 messages of 128 bytes.
    pub window_bytes: usize,
    /// Whether the times at which messages were received are kept with those that wait in the reorder window, 16 bytes each.
    pub receive_times: bool,
    /// How many separate gaps can be open. 4,096: every eighth packet of a full window of single messages lost, twice over.
    pub gap_capacity: usize,
    /// The seed of the jitter of retries.
    pub seed: u64,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self {
            session: SessionChoice::Any,
            start: Start::Oldest,
            resume: None,
            gap_policy: GapPolicy::default(),
            rewind_policy: RewindPolicy::default(),
            lines: [true, false],
            request_targets: 0,
            request: RequestConfig::default(),
            trust_oldest: true,
            silent_after: Nanos::from_secs(3),
            line_behind_after: Nanos::from_millis(100),
            compare_copies: false,
            window_messages: 1 << 18,
            window_bytes: 32 << 20,
            receive_times: false,
            gap_capacity: 4_096,
            seed: 0,
        }
    }
}
