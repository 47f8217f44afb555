//! How the publishing or subscribing thread is treated by the machine.

use crate::outcome::Outcome;
use seqcast_transport::{lock_memory, pin_to_core, set_fifo_priority};

/// The options of a thread that should not be kept waiting.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ThreadOptions {
    /// Pin to this core; a publisher then spins until each message is due
    #[arg(long, value_name = "N")]
    pub core: Option<usize>,
    /// Run at this real-time priority (SCHED_FIFO): a thread that spins then loses what kernel.sched_rt_runtime_us keeps for
    /// others, 50 ms of every second by default
    #[arg(long, value_name = "1..99", value_parser = clap::value_parser!(u8).range(1..=99))]
    priority: Option<u8>,
    /// Lock all memory, so that nothing is ever paged out
    #[arg(long)]
    lock_memory: bool,
}

impl ThreadOptions {
    /// Sets the calling thread up.
    ///
    /// # Errors
    ///
    /// Names the option that cannot be had, and what would permit it.
    pub fn prepare(&self) -> Result<(), Outcome> {
        if let Some(core) = self.core {
            pin_to_core(core).map_err(|error| Outcome::option("--core", &error))?;
            tracing::info!(core, "pinned to core {core}");
        }
        if let Some(priority) = self.priority {
            set_fifo_priority(priority).map_err(|error| Outcome::option("--priority", &error))?;
            tracing::info!(priority, "real-time priority {priority}");
        }
        if self.lock_memory {
            lock_memory().map_err(|error| Outcome::option("--lock-memory", &error))?;
            tracing::info!("all memory is locked");
        }
        Ok(())
    }
}
