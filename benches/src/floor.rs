//! `floor`: what the machine can do without us, in the same rig.

use crate::figures::Figure;
use crate::hiccup;
use crate::latency;
use crate::messages::Messages;
use crate::plots::Bar;
use crate::report::{self, Measurement, Round};
use crate::stage::Common;
use crate::stream::Load;
use crate::subject::{Chosen, Subject};
use crate::system::{Setup, System};
use crate::systems::{BareMemory, BareUdp};
use crate::trip::{self, Plan};
use seqcast_transport::Clock;

/// Measure bare sockets and bare shared memory: round trips, and datagrams a second
///
/// The same threads, messages and checks as for any other system. Round trips are made in turn, as by `latency`. Datagrams are
/// sent one by one, each filled by one message, as fast as it goes; what is told is how many were sent and how many arrived.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Bytes of the messages that go round
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "32,64,288,1344")]
    sizes: Vec<usize>,
    /// Round trips of each system and size a round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    trips: u64,
    /// Round trips between two turns
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..))]
    swap: u16,
    /// Bytes of the datagrams that are counted
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "86,1472,8972")]
    datagrams: Vec<usize>,
    /// How many datagrams are sent each time
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    count: u64,
}

/// Runs the measurement and prints its figures.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let subjects = vec![Subject::new(BareUdp::Multicast), Subject::new(BareUdp::Unicast), Subject::new(BareMemory)];
    let chosen = Chosen { subjects, reference: 0 };
    let setups: Vec<Setup> = options.sizes.iter().map(|&bytes| Setup::new(bytes)).collect();
    setups.iter().try_for_each(|setup| chosen.accept("--sizes", setup))?;
    if let Some(bytes) = options.datagrams.iter().find(|&&bytes| bytes <= BareUdp::FRAMING_BYTES) {
        return Err(format!("--datagrams: {bytes} bytes have no room for a message"));
    }
    let what = format!(
        "{} round trips of each a round, in turns of {}; {} datagrams",
        options.trips, options.swap, options.count
    );
    let systems = chosen.describe(&Setup::new(0));
    report::measure(&options.common, &Measurement { command: "floor", what, systems }, || {
        let (mut round, mut pauses) = (Round::default(), hiccup::pair(Clock::now()));
        for setup in &setups {
            let messages = Messages::uniform(setup.message_bytes, 1);
            let (trips, swap) = (options.trips as usize, usize::from(options.swap));
            let plan = Plan { trips, swap, warm_up: latency::WARM_UP_TRIPS };
            let tripped = trip::rotate(&options.common, &chosen.subjects, setup, &messages, plan, &mut pauses)?;
            latency::show_trips(&mut round, &chosen, setup.message_bytes, &tripped);
        }
        for &bytes in &options.datagrams {
            for kind in [BareUdp::Multicast, BareUdp::Unicast] {
                count(&mut round, options, kind, bytes)?;
            }
        }
        Ok(round.beside(pauses))
    })
}

fn count(round: &mut Round, options: &Options, kind: BareUdp, datagram_bytes: usize) -> Result<(), String> {
    let message_bytes = datagram_bytes - BareUdp::FRAMING_BYTES;
    let load = Load {
        common: &options.common,
        setup: Setup { datagram_bytes, ..Setup::new(message_bytes) },
        messages: &Messages::uniform(message_bytes, 1),
        count: options.count as usize,
        warm_up: 0,
        per_second: None,
        receivers: 1,
        threads: 1,
        keeps_times: false,
    };
    let subject = Subject::new(kind);
    let run = subject.stream(&load)?;
    let name = |what| format!("datagrams of {datagram_bytes} B {what}: {}", System::name(&kind));
    let sent = options.count as f64 / run.published_in.as_duration().as_secs_f64();
    let lost = run.lost as f64 / options.count as f64 * 100.0;
    round.figures.push(Figure::single(&name("sent"), sent / 1e6, "million/s"));
    round.figures.push(Figure::single(&name("lost"), lost, "%"));
    round.bars.push(Bar {
        chart: "Datagrams sent one by one, million/s".to_owned(),
        group: format!("{datagram_bytes} B"),
        name: subject.name().to_owned(),
        value: sent / 1e6,
    });
    Ok(())
}
