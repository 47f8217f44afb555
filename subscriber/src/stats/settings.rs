//! What is set before a subscriber's file is made.

use super::layout::Layout;
use super::{Cycle, Stats};
use crate::Subscriber;
use seqcast_recovery::Nanos;
use seqcast_stats::{CreateError, StatsFile, Unit};
use std::path::PathBuf;

/// A number of the application's own.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// Whether it only grows.
    pub(crate) is_counter: bool,
}

/// Where the file is made, and what is in it of the application's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatsSettings {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) own: Vec<Own>,
}

impl StatsSettings {
    /// Makes the file of a subscriber, if there is to be one; `facts` come before those of the application.
    pub(crate) fn open(
        &self,
        subscriber: &Subscriber,
        facts: &[(&str, String)],
    ) -> Result<Option<Box<Stats>>, CreateError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let mut layout = Layout::new(subscriber);
        let facts = facts.iter().map(|(name, text)| (*name, text));
        for (name, text) in facts.chain(self.facts.iter().map(|(name, text)| (name.as_str(), text))) {
            layout.description.fact(name, text);
        }
        let own: Vec<_> = self.own.iter().map(|own| (own.name.clone(), layout.add_own(own))).collect();
        let Layout { description, mut mirror, tables, recovery, leads, delivery, longest_cycle, lost_ranges } = layout;
        let file = StatsFile::create(directory, description)?;
        mirror.attach(&file);
        let mut stats = Stats {
            tables: super::Tables::new(&file, &tables),
            recovery: file.histogram(recovery),
            leads: leads.map(|lead| lead.map(|lead| file.histogram(lead))),
            delivery: delivery.map(|delivery| file.histogram(delivery)),
            longest_cycle: file.cell(longest_cycle),
            lost_ranges: file.cell(lost_ranges),
            own: own.into_iter().map(|(name, described)| (name, file.cell(described))).collect(),
            mirror,
            file,
            cycle: Cycle::default(),
            longest: Nanos::ZERO,
            remarkable: Nanos::ZERO,
            settled: 0,
            written_at: Nanos::ZERO,
            is_dirty: false,
        };
        if let Some(session) = subscriber.session() {
            stats.set_session(session);
        }
        Ok(Some(Box::new(stats)))
    }
}
