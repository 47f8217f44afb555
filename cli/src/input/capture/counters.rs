//! What a capture holds besides the messages that were handed out.

use super::link::Skipped;
use crate::input::warning::Warning;

/// Counts everything in a capture, so that nothing that was left out is silent.
///
/// `messages + duplicates + late + conflicting + foreign` is the number of messages in all feed packets, once the end
/// is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounters {
    /// Captured frames of any kind.
    pub frames: u64,
    /// Feed packets with messages, of whatever session.
    pub packets: u64,
    /// Feed packets without messages: heartbeats and ends of sessions.
    pub heartbeats: u64,
    /// Messages handed out.
    pub messages: u64,
    /// Gaps in the numbers that nothing in the capture filled in time.
    pub gaps: u64,
    /// How many numbers those gaps hold.
    pub missing: u64,
    /// Messages whose number had been handed out: the other line's copy, or a retransmission.
    pub duplicates: u64,
    /// Messages whose number had been passed as missing, or lies before the first one.
    pub late: u64,
    /// Messages whose number had been handed out lately with other bytes.
    pub conflicting: u64,
    /// Messages of other sessions, channels or feeds than the first one.
    pub foreign: u64,
    /// UDP datagrams that are no feed packets.
    pub other_udp: u64,
    /// Frames with something other than UDP over IP.
    pub not_udp: u64,
    /// Frames with IPv6, which is not looked into.
    pub ipv6: u64,
    /// Fragments of IP packets, which are not put together.
    pub fragments: u64,
    /// Frames of which the capture holds only the first bytes.
    pub cut: u64,
}

impl CaptureCounters {
    pub(super) fn skip(&mut self, skipped: Skipped) {
        *match skipped {
            Skipped::Other => &mut self.not_udp,
            Skipped::Ipv6 => &mut self.ipv6,
            Skipped::Fragment => &mut self.fragments,
            Skipped::Cut => &mut self.cut,
        } += 1;
    }

    pub(in crate::input) fn warn(&self, warnings: &mut Vec<Warning>) {
        let Self { missing, gaps, .. } = *self;
        let told = [
            (missing, Warning::Missing { missing, gaps }),
            (self.late, Warning::Late(self.late)),
            (self.conflicting, Warning::Conflicting(self.conflicting)),
            (self.foreign, Warning::OtherSessions(self.foreign)),
            (self.cut, Warning::CutPackets(self.cut)),
            (self.fragments, Warning::Fragments(self.fragments)),
        ];
        warnings.extend(told.into_iter().filter(|(count, _)| *count > 0).map(|(_, warning)| warning));
    }
}
