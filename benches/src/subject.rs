//! Systems of many types side by side: chosen by name, opened together, held against one of them.

use crate::messages::Messages;
use crate::report::Described;
use crate::stream::{self, Load, Streamed};
use crate::system::{Setup, System};
use crate::systems::{BareMemory, BareUdp, SeqcastRing, SeqcastUdp};
use crate::trip::{self, Answering, Asking};
use std::fmt;
use std::sync::Arc;

/// Behind a system's name: the kernel cuts and joins its datagrams.
const SEGMENTED: &str = "+segmented";

/// A system that can be chosen.
#[derive(Clone)]
pub struct Subject {
    name: String,
    segmented: bool,
    system: Arc<dyn Measurable>,
}

impl Subject {
    /// Makes a system one that can be chosen by its name.
    #[must_use]
    pub fn new(system: impl System + 'static) -> Self {
        Self { name: system.name().to_owned(), segmented: false, system: Arc::new(system) }
    }

    /// Those that come with the harness.
    pub(crate) fn own() -> Vec<Self> {
        vec![
            Self::new(SeqcastUdp),
            Self::new(SeqcastRing),
            Self::new(BareUdp::Multicast),
            Self::new(BareUdp::Unicast),
            Self::new(BareMemory),
        ]
    }

    /// The same system under another name.
    fn again(&self) -> Self {
        Self { name: format!("{}-again", self.name), ..self.clone() }
    }

    /// The same system with the kernel cutting and joining its datagrams.
    fn segmented(&self) -> Self {
        Self { name: format!("{}{SEGMENTED}", self.name), segmented: true, ..self.clone() }
    }

    /// Its own setup.
    fn setup(&self, setup: &Setup) -> Setup {
        Setup { segmented: self.segmented, ..*setup }
    }

    /// What it is chosen and shown by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn describe(&self, setup: &Setup) -> Described {
        Described { name: self.name.clone(), description: self.system.describe(&self.setup(setup)) }
    }

    /// Why it cannot be measured so, if it cannot.
    pub(crate) fn refusal(&self, setup: &Setup) -> Option<String> {
        self.system.refusal(&self.setup(setup))
    }

    pub(crate) fn repairs_loss(&self) -> bool {
        self.system.repairs_loss()
    }

    /// Opens both sides of round trips.
    pub(crate) fn open_trips<'m>(&self, setup: &Setup, messages: &'m Messages) -> Result<Sides<'m>, String> {
        self.system.open_trips(&self.setup(setup), messages).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Carries a load one way.
    pub(crate) fn stream(&self, load: &Load<'_>) -> Result<Streamed, String> {
        let load = Load { setup: self.setup(&load.setup), ..*load };
        self.system.stream(&load).map_err(|error| format!("{}: {error}", self.name))
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Both sides of round trips.
pub(crate) type Sides<'m> = (Box<dyn Asking + 'm>, Box<dyn Answering + 'm>);

/// What the harness does with a system, whatever its type.
trait Measurable: Send + Sync {
    fn describe(&self, setup: &Setup) -> String;
    fn refusal(&self, setup: &Setup) -> Option<String>;
    fn repairs_loss(&self) -> bool;
    /// Opens both sides of round trips.
    fn open_trips<'m>(&self, setup: &Setup, messages: &'m Messages) -> Result<Sides<'m>, String>;
    fn stream(&self, load: &Load<'_>) -> Result<Streamed, String>;
}

impl<S: System + 'static> Measurable for S {
    fn describe(&self, setup: &Setup) -> String {
        System::describe(self, setup)
    }

    fn refusal(&self, setup: &Setup) -> Option<String> {
        System::refusal(self, setup)
    }

    fn repairs_loss(&self) -> bool {
        System::repairs_loss(self)
    }

    fn open_trips<'m>(&self, setup: &Setup, messages: &'m Messages) -> Result<Sides<'m>, String> {
        let [here, there] = self.open_both_ways(setup)?;
        Ok((Box::new(trip::Asker::new(here, messages)), Box::new(trip::Answerer::new(there, messages))))
    }

    fn stream(&self, load: &Load<'_>) -> Result<Streamed, String> {
        stream::carry(self, load)
    }
}

/// Which systems are measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Choice {
    /// The systems that are measured in turn: seqcast, seqcast-ring, bare-multicast, bare-unicast, bare-memory, and others that
    /// this harness was built with; with +segmented behind its name, the kernel cuts and joins its datagrams, UDP_SEGMENT and
    /// UDP_GRO
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    systems: Vec<String>,
    /// The system that the others are held against; the first unless set
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Measure that system twice, as if it were two: what differs is noise
    #[arg(long)]
    control: bool,
}

/// The systems of one measurement.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) subjects: Vec<Subject>,
    /// Which of them the others are held against.
    pub(crate) reference: usize,
}

impl Choice {
    /// Looks them up; `default` when none is named.
    pub(crate) fn among(&self, all: &[Subject], default: &[&str]) -> Result<Chosen, String> {
        let find = |option: &str, name: &str| {
            let plain = name.strip_suffix(SEGMENTED);
            let found = all.iter().find(|subject| subject.name == plain.unwrap_or(name));
            let found = found.map(|subject| if plain.is_some() { subject.segmented() } else { subject.clone() });
            let names = || all.iter().map(Subject::name).collect::<Vec<_>>().join(", ");
            found.ok_or_else(|| format!("{option}: there is no system '{name}' here; there are {}", names()))
        };
        let named: Vec<&str> =
            if self.systems.is_empty() { default.to_vec() } else { self.systems.iter().map(String::as_str).collect() };
        let mut subjects = Vec::new();
        for (index, name) in named.iter().enumerate() {
            if named[..index].contains(name) {
                return Err(format!("--systems: '{name}' is there twice; --control measures one system twice"));
            }
            subjects.push(find("--systems", name)?);
        }
        let against = self.against.as_deref().unwrap_or(named[0]);
        let reference = named.iter().position(|name| *name == against);
        let reference = reference.ok_or_else(|| format!("--against: '{against}' is not among the systems"))?;
        if self.control {
            subjects.push(subjects[reference].again());
        }
        Ok(Chosen { subjects, reference })
    }
}

/// # Errors
///
/// When messages do not fit, as the option of this name says that they are.
pub(crate) fn fits(option: &str, setup: &Setup) -> Result<(), String> {
    let &Setup { message_bytes, datagram_bytes, .. } = setup;
    if message_bytes + BareUdp::FRAMING_BYTES > datagram_bytes {
        return Err(format!("{option}: a message of {message_bytes} bytes does not fit into {datagram_bytes}"));
    }
    Ok(())
}

impl Chosen {
    /// # Errors
    ///
    /// When messages do not fit, as the option of this name says that they are, or one of the systems cannot be measured so.
    pub(crate) fn accept(&self, sizes: &str, setup: &Setup) -> Result<(), String> {
        fits(sizes, setup)?;
        for subject in &self.subjects {
            if let Some(why) = subject.refusal(setup) {
                return Err(format!("--systems: '{}' cannot be measured so: {why}", subject.name()));
            }
        }
        Ok(())
    }

    pub(crate) fn describe(&self, setup: &Setup) -> Vec<Described> {
        self.subjects.iter().map(|subject| subject.describe(setup)).collect()
    }

    /// The one that the others are held against.
    pub(crate) fn reference(&self) -> &Subject {
        &self.subjects[self.reference]
    }

    /// The others, each with its place among all.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Subject)> {
        self.subjects.iter().enumerate().filter(|&(index, _)| index != self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(systems: &[&str], against: Option<&str>, control: bool) -> Result<Chosen, String> {
        let systems = systems.iter().map(|&name| name.to_owned()).collect();
        Choice { systems, against: against.map(str::to_owned), control }.among(&Subject::own(), &["seqcast"])
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        chosen.subjects.iter().map(Subject::name).collect()
    }

    #[test]
    fn systems_are_chosen_by_name_and_held_against_the_first() {
        let chosen = choice(&["bare-unicast", "seqcast"], None, false).unwrap();
        assert_eq!((names(&chosen), chosen.reference().name()), (vec!["bare-unicast", "seqcast"], "bare-unicast"));
        let chosen = choice(&["bare-unicast", "seqcast"], Some("seqcast"), true).unwrap();
        assert_eq!(names(&chosen), ["bare-unicast", "seqcast", "seqcast-again"]);
        assert_eq!(chosen.reference().name(), "seqcast");
        assert_eq!(names(&choice(&[], None, false).unwrap()), ["seqcast"]);
        let chosen = choice(&["seqcast", "seqcast+segmented"], None, false).unwrap();
        assert_eq!(names(&chosen), ["seqcast", "seqcast+segmented"]);
        let described = chosen.describe(&Setup::new(64));
        assert!(described[0].description.contains("UDP_SEGMENT and UDP_GRO off"), "{described:?}");
        assert!(described[1].description.contains("UDP_SEGMENT and UDP_GRO on"), "{described:?}");
    }

    #[test]
    fn what_cannot_be_chosen_is_told_by_option() {
        assert!(choice(&["segcast"], None, false).unwrap_err().starts_with("--systems: there is no system 'segcast'"));
        assert!(
            choice(&["seqcast", "seqcast"], None, false)
                .unwrap_err()
                .starts_with("--systems: 'seqcast' is there twice")
        );
        assert!(choice(&["seqcast"], Some("bare-memory"), false).unwrap_err().starts_with("--against"));
        let setup = Setup { loss: 0.01, ..Setup::new(64) };
        let refused = choice(&["bare-unicast"], None, false).unwrap().accept("--sizes", &setup).unwrap_err();
        assert!(refused.starts_with("--systems: 'bare-unicast' cannot be measured so"), "{refused}");
        let accept = |bytes| choice(&["seqcast"], None, false).unwrap().accept("--bytes", &Setup::new(bytes));
        assert_eq!(accept(1_450), Ok(()));
        assert!(accept(1_451).unwrap_err().starts_with("--bytes: a message of 1451 bytes"));
    }
}
