//! What machine a figure was measured on.

use crate::stage::{INTERFACE, Stage};
use seqcast_recovery::Nanos;
use seqcast_subscriber::RECEIVE_BUFFER_BYTES;
use seqcast_transport::{BufferGrant, Clock, Interface, MulticastReceiver, MulticastSender};
use serde::{Deserialize, Serialize};
use std::fs;
use std::thread::available_parallelism;

/// The receive and the send buffer that a subscriber and a publisher ask for, in bytes.
const BUFFERS: (usize, usize) = (RECEIVE_BUFFER_BYTES, 1 << 20);

/// How often the clock is read to know what that costs. Arbitrary.
const READINGS: u64 = 100_000;

/// Above this load for each core, others were at work.
const BUSY: f64 = 0.3;

/// The machine and its state when a measurement began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    /// Whether a hypervisor is below the kernel.
    pub(crate) is_virtual: bool,
    /// How many cores this process may use.
    pub(crate) cores: usize,
    /// Cores that the scheduler leaves alone, as the kernel lists them; empty if none.
    pub(crate) isolated: String,
    /// Cores without the timer tick while one thread runs, likewise.
    pub(crate) tickless: String,
    /// Of the first core; empty if the kernel does not tell.
    pub(crate) governor: String,
    pub(crate) clock_source: String,
    /// What reading the clock takes; a time that is measured has about one reading in it.
    pub(crate) clock_ns: f64,
    /// What a line's sockets were granted, in bytes; 0 if they could not be opened.
    pub(crate) receive_buffer_bytes: usize,
    pub(crate) send_buffer_bytes: usize,
    /// The load average of the last minute when the measurement began.
    pub(crate) load: f64,
    /// Whether this is a build for release.
    pub(crate) is_release: bool,
    /// The version of seqcast.
    pub(crate) version: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cores = read("/proc/cpuinfo");
        let core_value = |key| Some(cores.lines().find_map(|line| line.strip_prefix(key))?.split_once(':')?.1.trim());
        let (receive_buffer_bytes, send_buffer_bytes) = buffers().unwrap_or_default();
        Self {
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease")),
            processor: core_value("model name").unwrap_or("unknown processor").to_owned(),
            is_virtual: core_value("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            cores: available_parallelism().map_or(1, std::num::NonZero::get),
            isolated: read("/sys/devices/system/cpu/isolated"),
            tickless: Some(read("/sys/devices/system/cpu/nohz_full"))
                .filter(|list| list != "(null)")
                .unwrap_or_default(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_ns: clock_ns(),
            receive_buffer_bytes,
            send_buffer_bytes,
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
            is_release: cfg!(not(debug_assertions)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// In one paragraph.
    pub(crate) fn describe(&self) -> String {
        let named = |list: &str, none: &str| if list.is_empty() { none.to_owned() } else { list.to_owned() };
        format!(
            "{}, {}{}, {} cores (isolated: {}; without a tick: {}), governor {}, clock source {}, {:.0} ns a reading, \
             buffers granted: {} KiB to receive, {} KiB to send; load {:.2}; seqcast {}",
            self.kernel,
            self.processor,
            if self.is_virtual { " under a hypervisor" } else { "" },
            self.cores,
            named(&self.isolated, "none"),
            named(&self.tickless, "none"),
            named(&self.governor, "not told"),
            self.clock_source,
            self.clock_ns,
            self.receive_buffer_bytes >> 10,
            self.send_buffer_bytes >> 10,
            self.load,
            self.version,
        )
    }

    /// What speaks against believing the figures.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.is_release {
            doubts.push("a build for debugging: measure with --release".to_owned());
        }
        if self.load > BUSY * self.cores as f64 {
            doubts.push(format!("others are at work: the load was {:.2} when this began", self.load));
        }
        if self.cores < 2 {
            doubts.push("two threads share one core".to_owned());
        }
        doubts
    }
}

fn buffers() -> Option<(usize, usize)> {
    let (line, interface) = (Stage::new().ok()?.line(), Interface::resolve(INTERFACE).ok()?);
    let receiver = MulticastReceiver::open(&line, &interface, Some(BUFFERS.0)).ok()?;
    let sender = MulticastSender::open(&line, &interface, 1, Some(BUFFERS.1)).ok()?;
    let [receive, send] = [receiver.buffer(), sender.buffer()].map(|BufferGrant { granted_bytes, .. }| granted_bytes);
    Some((receive, send))
}

fn clock_ns() -> f64 {
    let from = Clock::now();
    let last = (0..READINGS).fold(from, |_, _| Clock::now());
    let Nanos(passed) = last - from;
    passed as f64 / READINGS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_described_with_what_matters() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.clock_ns > 0.0 && machine.receive_buffer_bytes > 0);
        let words = machine.describe();
        for part in [&machine.kernel, &machine.processor, &machine.clock_source] {
            assert!(!part.is_empty() && words.contains(part.as_str()), "{words}");
        }
    }

    #[test]
    fn what_spoils_the_figures_is_told() {
        let quiet = Machine { cores: 2, is_release: true, ..Machine::default() };
        assert_eq!(quiet.doubts(), [""; 0]);
        for spoiled in [
            Machine { load: 1.0, ..quiet.clone() },
            Machine { is_release: false, ..quiet.clone() },
            Machine { cores: 1, ..quiet },
        ] {
            assert_eq!(spoiled.doubts().len(), 1);
        }
    }
}
