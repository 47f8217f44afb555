//! One session on the publishing side: its input, its publisher or the two of a hot pair, and what becomes the truth.

use crate::plan::{Crash, Cut, Ending, SessionPlan};
use crate::publisher::Publisher;
use crate::truth::Truth;
use seqcast_protocol::{PacketWriter, SequenceNumber};
use seqcast_recovery::{ClaimError, Line, Nanos, Random};

/// The most messages in a packet that is cut anew, and the most by which it reaches back. Arbitrary.
const RECUT_MESSAGES: u64 = 7;
const RECUT_BACK: u64 = 3;

/// One session.
pub(crate) struct Source {
    pub(crate) plan: SessionPlan,
    pub(crate) truth: Truth,
    pub(crate) publishers: Vec<Publisher>,
    /// The bytes of each message.
    sizes: Vec<usize>,
    /// One past the last message of each step.
    step_ends: Vec<SequenceNumber>,
    random: Random,
    /// Where line B's packets are cut.
    cuts: Random,
}

impl Source {
    pub(crate) fn new(plan: &SessionPlan, seed: u64) -> Self {
        let lines = if plan.is_pair { vec![[true, false], [false, true]] } else { vec![[true; 2]] };
        let mut next = 1;
        let ends = plan.steps.iter().map(|step| {
            next += step.sizes.len() as u64;
            next
        });
        Self {
            step_ends: ends.collect(),
            sizes: plan.steps.iter().flat_map(|step| step.sizes.iter().copied()).collect(),
            random: Random::new(seed ^ plan.input),
            cuts: Random::new(!seed ^ plan.input),
            publishers: lines.iter().map(|&lines| Publisher::new(plan, lines)).collect(),
            truth: Truth::new(plan.session, lines.len()),
            plan: plan.clone(),
        }
    }

    /// A publisher takes a step of its input, if it lives; returns when it will be back if it is killed meanwhile.
    pub(crate) fn publish(
        &mut self,
        publisher: usize,
        step: usize,
        now: Nanos,
        send: &mut dyn FnMut(Line, &[u8]),
    ) -> Option<Nanos> {
        self.publishers[publisher].due = self.step_ends[step];
        self.publishers[publisher].publication.as_ref()?;
        let crash = self.plan.crashes.iter().find(|crash| (crash.publisher, crash.step) == (publisher, step));
        let crash = crash.copied();
        self.write(publisher, crash.map(|crash| crash.cut), send);
        crash.map(|Crash { down, .. }| now + down)
    }

    /// A publisher that was killed goes on with its ring: publishes what its input has given meanwhile, and ends if it should
    /// have.
    pub(crate) fn come_back(&mut self, publisher: usize, now: Nanos, send: &mut dyn FnMut(Line, &[u8])) {
        let is_dead_for_good = matches!(self.plan.ending, Ending::Die(at) if at <= now);
        if self.truth.is_over || is_dead_for_good {
            return;
        }
        let mine = &mut self.publishers[publisher];
        mine.come_back(now, &self.plan);
        self.write(publisher, None, send);
        if self.publishers[publisher].is_due_to_end {
            self.end(publisher);
        }
    }

    /// Commits and flushes what is due, or is killed there.
    fn write(&mut self, publisher: usize, cut: Option<Cut>, send: &mut dyn FnMut(Line, &[u8])) {
        let mine = &mut self.publishers[publisher];
        let publication = mine.publication.as_mut().expect("whoever writes lives");
        let first = publication.next();
        let (end, mut left) = match cut {
            Some(Cut::Retaining { messages, .. }) => (mine.due.min(first + messages), Some(0)),
            Some(Cut::Sending { datagrams }) => (mine.due, Some(datagrams)),
            None => (mine.due, None),
        };
        let marks = mine.marks();
        let mut lives = true;
        for number in first..end {
            let publication = mine.publication.as_mut().expect("it lives");
            let index = number as usize - 1;
            let bytes = self.sizes[index].min(publication.max_message_bytes());
            if self.truth.messages.len() == index {
                self.truth.messages.push((0..bytes).map(|_| self.random.next_u64() as u8).collect());
            }
            if publication.claim(bytes).is_err_and(|error| error == ClaimError::Full) {
                lives = mine.flush(&mut left, send);
                if !lives {
                    break;
                }
            }
            let publication = mine.publication.as_mut().expect("it lives");
            let mut claim = publication.claim(bytes).expect("a flushed publication has room");
            claim.copy_from_slice(&self.truth.messages[index]);
            assert_eq!(claim.commit(), number);
        }
        lives = lives && mine.flush(&mut left, send);
        mine.retained = mine.publication.as_ref().expect("it lives until here").next();
        let retained = mine.retained;
        self.truth.retained = self.truth.retained.max(retained);
        if let Some(cut) = cut {
            mine.die();
            if let Cut::Retaining { torn_marks, .. } = cut {
                mine.tear_marks(marks, torn_marks);
            }
        }
        self.truth.retained_from[publisher] = mine.ring().oldest();
        if lives && self.plan.recuts_b {
            self.recut(first, retained, send);
        }
    }

    /// Sends line B the messages `first..end` in packets of its own, which overlap.
    fn recut(&mut self, first: SequenceNumber, end: SequenceNumber, send: &mut dyn FnMut(Line, &[u8])) {
        let mut buffer = vec![0; self.plan.max_datagram];
        let mut next = first;
        while next < end {
            // The first message that is new fits behind those that are not, or they stay away.
            let back = self.cuts.below(RECUT_BACK + 1).min(next - 1);
            let most = self.cuts.below(RECUT_MESSAGES) + 1;
            let end = (next - back..=next).find_map(|start| {
                let mut writer = PacketWriter::new(&mut buffer, self.truth.session, start);
                let messages = &self.truth.messages[start as usize - 1..(next + most).min(end) as usize - 1];
                messages.iter().try_for_each(|message| writer.push(message)).ok();
                let end = writer.range().end();
                (end > next).then(|| {
                    send(Line::B, writer.finish());
                    end
                })
            });
            next = end.expect("a message fits into a packet");
        }
    }

    /// A publisher ends the session as planned, or later if it is dead now.
    pub(crate) fn end(&mut self, publisher: usize) {
        if let Ending::Die(_) = self.plan.ending {
            self.publishers[publisher].die();
            self.truth.is_over |= self.publishers.iter().all(|publisher| publisher.responder().is_none());
            return;
        }
        let mine = &mut self.publishers[publisher];
        mine.is_due_to_end = true;
        if let Some(publication) = mine.publication.take() {
            publication.end(|_| panic!("everything was flushed"));
            self.truth.is_ended = true;
        }
    }

    /// All its processes are gone.
    pub(crate) fn stop(&mut self) {
        self.publishers.iter_mut().for_each(Publisher::stop);
        self.truth.is_over = true;
    }

    /// The duty cycle of a publisher's retransmitter.
    pub(crate) fn tick(&mut self, publisher: usize, now: Nanos, send: impl FnMut(Line, &[u8])) {
        if self.publishers[publisher].tick(now, send) {
            self.publishers[publisher].stop();
            self.truth.is_over = self.publishers.iter().all(|publisher| !publisher.is_alive());
        }
    }
}
