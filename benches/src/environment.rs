//! What machine a figure was measured on.

use std::fs;
use std::thread::available_parallelism;

/// The kernel, the processor, and how many cores this process may use, in one line.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|(_, name)| name);
    let clock = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let load = read("/proc/loadavg");
    format!(
        "Linux {}, {}, {} cores, clock source {}, load {}",
        kernel.trim(),
        model.unwrap_or("unknown processor").trim(),
        available_parallelism().map_or(1, std::num::NonZero::get),
        clock.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}
