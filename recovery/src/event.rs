//! What an application is told. What changes data is exhaustive here; what only informs is [`Status`], which may grow.

use crate::Nanos;
use seqcast_protocol::{SequenceNumber, SequenceRange, SessionId};

/// One of the two redundant copies of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Line {
    /// The first, or the only one.
    A,
    /// The second.
    B,
}

impl Line {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// 0 for A, 1 for B.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Where a datagram came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It was received on a line.
    Line(Line),
    /// It came from the request address with this index.
    RequestTarget(usize),
}

/// Something the application must know, in the order of the sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next message.
    Message(Message<'a>),
    /// Numbers are known to exist and have not arrived; raised once, before anything is done about it.
    Gap(Gap),
    /// All numbers of a gap that was raised have been delivered; follows the last of them. A gap of which some was lost has
    /// none: what is lost is not mended by what follows.
    Recovered(Recovered),
    /// Numbers will never be delivered; delivery goes on behind them.
    Lost(Loss),
    /// A subscription that follows has taken a session; what was built from another one is void.
    NewSession(NewSession),
    /// The numbers of the session have begun again, as real venues let them; what was built from it is void.
    Rewound(Rewound),
    /// Every number of the session has been delivered or reported lost.
    EndOfSession(EndOfSession),
    /// For the log: nothing about the data has changed.
    Status(Status),
}

/// A message, delivered once, in order, as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its number.
    pub number: SequenceNumber,
    /// Its bytes, `0..=65535` of them, borrowed for the length of the call.
    pub payload: &'a [u8],
}

/// A gap was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The missing numbers; some may have arrived since they were found missing.
    pub range: SequenceRange,
    /// Why they are missing.
    pub origin: GapOrigin,
}

/// Why numbers were missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapOrigin {
    /// Not known: lost, or late, on the way.
    Unknown,
    /// The kernel dropped so many datagrams here since the last gap: the receive buffer was full.
    KernelDrop(u32),
    /// They were published before the subscription began.
    LateJoin,
    /// They arrived, and the reorder window had no room for them.
    Deferred,
}

/// A gap was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The numbers that had been missing.
    pub range: SequenceRange,
    /// Why they had been missing.
    pub origin: GapOrigin,
    /// From the moment that they were found missing until the last of them arrived.
    pub elapsed: Nanos,
}

/// Numbers were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The numbers that will never be delivered.
    pub range: SequenceRange,
    /// Why not.
    pub cause: LossCause,
}

/// Why numbers were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// Nobody retains them any more.
    Overwritten,
    /// Nobody answered within the give-up time.
    NoAnswer,
    /// The gap policy is to skip.
    Skipped,
    /// The session was left, or began again, before they arrived.
    Ended,
}

/// A following subscription has taken a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The session from here on.
    pub session: SessionId,
    /// The session before, if any.
    pub previous: Option<PreviousSession>,
}

/// How a session was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousSession {
    /// Its name.
    pub session: SessionId,
    /// Whether its end was announced; otherwise its publisher fell silent.
    pub ended: bool,
}

/// The numbers of a session have fallen back: numbers that had been delivered come again with other bytes, or from farther back
/// than anything that was duplicated or overtaken can come, on every line that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The session.
    pub session: SessionId,
    /// The number that would have been delivered next.
    pub expected: SequenceNumber,
    /// The number from which the session goes on.
    pub sequence: SequenceNumber,
}

/// A session is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfSession {
    /// The session.
    pub session: SessionId,
    /// One past its last number.
    pub next: SequenceNumber,
}

/// What an operator wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The session was heard for the first time, or again after a silence.
    Heard {
        /// The session.
        session: SessionId,
    },
    /// Nothing of the session, or of any session before one was heard, has arrived on any line for so long.
    Silent {
        /// How long.
        elapsed: Nanos,
    },
    /// Everything that is known to exist has been delivered or reported lost, and nothing that has arrived lies unread: the
    /// subscription is live from here on. Told once in each session, not again when its numbers begin again; what is missed
    /// later is told by gaps. With a start at a number that has yet to come, it is told of that number at once.
    CaughtUp {
        /// The next number.
        next: SequenceNumber,
    },
    /// Nothing has arrived on this line for so long, while the other one is heard; or nothing ever has.
    LineSilent {
        /// The line.
        line: Line,
        /// How long.
        elapsed: Nanos,
    },
    /// What the other line has shown has yet to arrive on this one.
    LineBehind {
        /// The line.
        line: Line,
        /// How many messages lie between the two.
        messages: u64,
        /// Since when the other line has shown the first of them.
        elapsed: Nanos,
    },
    /// A line that was silent or behind carries again what the other does.
    LineCaughtUp {
        /// The line.
        line: Line,
    },
    /// The bytes of two copies of a message are not the same; told at most once per duty cycle, see
    /// [`Counters::differing`](crate::Counters::differing).
    CopiesDiffer {
        /// The message. Its first copy is the one that was, or will be, delivered.
        number: SequenceNumber,
        /// Where the other copy came from.
        source: Source,
    },
    /// A gap was found, or the numbers have begun again, and the policy is to stop: nothing more will be delivered.
    Stopped {
        /// The next number that would have been delivered.
        next: SequenceNumber,
    },
}
