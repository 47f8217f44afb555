//! Runs a scenario: takes what happens next from the queue, lets it happen, and lets the oracle look.

mod requests;

use crate::client::Client;
use crate::network::{Path, Queue};
use crate::oracle::Told;
use crate::plan::{Ending, Scenario, SessionPlan};
use crate::source::{Source, Truth};
use requests::address;
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, SequenceNumber, SequenceRange};
use seqcast_recovery::{GapPolicy, Line, Nanos, SessionChoice, Source as From, Start};
use std::collections::BTreeSet;

/// How many happenings a scenario may have; more means that somebody never comes to rest. Arbitrary.
const STEP_LIMIT: u64 = 5_000_000;

/// A path, by whose it is.
#[derive(Clone, Copy, Debug)]
enum PathId {
    Line(usize, Line),
    Request(usize, usize),
    Answer(usize, usize),
}

enum Happening {
    Begin(usize),
    Publish(usize, usize),
    End(usize),
    Tick(usize),
    Release(PathId),
    Arrive(PathId, Vec<u8>),
    Poll(usize),
    /// A session's responder has time for an answer.
    Serve(usize),
    Flood(usize, u64),
}

/// The paths of one client.
struct Paths {
    lines: Vec<Path>,
    requests: Vec<Path>,
    answers: Vec<Path>,
}

pub(crate) struct World {
    now: Nanos,
    scenario: Scenario,
    queue: Queue<Happening>,
    pub(crate) sources: Vec<Source>,
    pub(crate) clients: Vec<Client>,
    paths: Vec<Paths>,
    /// The next tick of each source that counts.
    ticks: Vec<Option<Nanos>>,
    /// When the responder of each source has time next, if it waits for that.
    serves: Vec<Option<Nanos>>,
    /// When it will have ended the answer that it gave last.
    busy_until: Vec<Nanos>,
    /// Whom the answers were for, in order: a client, or a flood, counted from the last client on.
    pub(crate) served: Vec<usize>,
    pub(crate) steps: u64,
}

impl World {
    /// Runs `scenario` to its end; the oracle panics where something is wrong.
    pub(crate) fn run(scenario: &Scenario) -> Self {
        let mut world = Self::new(scenario);
        while let Some((now, happening)) = world.queue.pop() {
            if now > world.scenario.deadline {
                break;
            }
            world.now = now;
            world.steps += 1;
            assert!(
                world.steps < STEP_LIMIT,
                "no rest: {:?}",
                world.clients.iter().map(Client::summary).collect::<Vec<_>>()
            );
            world.happen(happening);
        }
        world.check_the_end();
        world
    }

    fn new(scenario: &Scenario) -> Self {
        let mut queue = Queue::new();
        let (mut sources, mut clients, mut paths) = (vec![], vec![], vec![]);
        let steps = |plan: &SessionPlan| plan.steps.iter().map(|step| step.sizes.len()).sum::<usize>();
        let bytes = |plan: &SessionPlan| -> usize { plan.steps.iter().flat_map(|step| &step.sizes).sum() };
        let longest = scenario.sessions.iter().map(steps).max().unwrap_or(0);
        let most_bytes = LENGTH_BYTES * longest + scenario.sessions.iter().map(bytes).max().unwrap_or(0);
        for (index, plan) in scenario.sessions.iter().enumerate() {
            sources.push(Source::new(plan, scenario.seed));
            queue.schedule(plan.begins, Happening::Begin(index));
            for (step, at) in plan.steps.iter().enumerate() {
                queue.schedule(at.at, Happening::Publish(index, step));
            }
            let (Ending::End(at) | Ending::Die(at)) = plan.ending;
            queue.schedule(at, Happening::End(index));
        }
        let mut stream = 0;
        let mut path = |plan| {
            stream += 1;
            Path::new(plan, stream, scenario.clean_from)
        };
        for (index, plan) in scenario.clients.iter().enumerate() {
            let config = &plan.config;
            let is_roomy = config.window_messages >= longest && config.gap_capacity >= longest;
            let is_roomy = is_roomy && config.window_bytes > most_bytes;
            clients.push(Client::new(plan, scenario.is_answered, is_roomy));
            paths.push(Paths {
                lines: plan.lines.iter().map(&mut path).collect(),
                requests: plan.targets.iter().map(|(request, _)| path(request)).collect(),
                answers: plan.targets.iter().map(|(_, answer)| path(answer)).collect(),
            });
            queue.schedule(plan.joins, Happening::Poll(index));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            client.poll_at = Some(scenario.clients[index].joins);
        }
        for (index, flood) in scenario.floods.iter().enumerate() {
            queue.schedule(flood.during.start, Happening::Flood(index, 0));
        }
        Self {
            now: Nanos::ZERO,
            scenario: scenario.clone(),
            queue,
            served: vec![],
            clients,
            paths,
            ticks: vec![None; sources.len()],
            serves: vec![None; sources.len()],
            busy_until: vec![Nanos::ZERO; sources.len()],
            sources,
            steps: 0,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begin(index) => {
                // The addresses are free for a new publisher once the one before is gone.
                self.sources[..index].iter_mut().for_each(Source::stop);
                self.schedule_tick(index, true);
            }
            Happening::Publish(index, step) => {
                let mut packets = vec![];
                self.sources[index].publish(step, &mut |line, packet| packets.push((line, packet.to_vec())));
                for (line, packet) in packets {
                    self.multicast(line, &packet);
                }
                self.schedule_tick(index, true);
            }
            Happening::End(index) => {
                self.sources[index].end();
                self.schedule_tick(index, true);
            }
            Happening::Tick(index) => {
                if self.ticks[index] == Some(self.now) {
                    self.ticks[index] = None;
                    if let Some(header) = self.sources[index].tick(self.now) {
                        Line::ALL.into_iter().for_each(|line| self.multicast(line, &header));
                    }
                    self.schedule_tick(index, false);
                }
            }
            Happening::Release(id) => {
                let now = self.now;
                let (path, mut through) = (self.path(id), vec![]);
                path.pop(now, |datagram| through.push(datagram.to_vec()));
                self.carry(id, through);
            }
            Happening::Arrive(PathId::Line(client, line), datagram) => {
                self.receive(client, From::Line(line), datagram);
            }
            Happening::Arrive(PathId::Answer(client, target), datagram) => {
                self.receive(client, From::RequestTarget(target), datagram);
            }
            Happening::Arrive(PathId::Request(client, target), datagram) => {
                self.ask(address(client, target), &datagram);
            }
            Happening::Poll(client) => self.poll(client),
            Happening::Serve(index) => {
                if self.serves[index] == Some(self.now) {
                    self.serves[index] = None;
                    self.serve(index);
                }
            }
            Happening::Flood(index, count) => self.flood(index, count),
        }
    }

    fn multicast(&mut self, line: Line, packet: &[u8]) {
        assert!(packet.len() >= HEADER_BYTES);
        for client in 0..self.clients.len() {
            if self.now >= self.scenario.clients[client].joins && line.index() < self.paths[client].lines.len() {
                self.transmit(PathId::Line(client, line), packet);
            }
        }
    }

    fn path(&mut self, id: PathId) -> &mut Path {
        match id {
            PathId::Line(client, line) => &mut self.paths[client].lines[line.index()],
            PathId::Request(client, target) => &mut self.paths[client].requests[target],
            PathId::Answer(client, target) => &mut self.paths[client].answers[target],
        }
    }

    fn transmit(&mut self, id: PathId, datagram: &[u8]) {
        let now = self.now;
        let mut through = vec![];
        self.path(id).push(now, datagram, |datagram| through.push(datagram.to_vec()));
        self.carry(id, through);
    }

    fn carry(&mut self, id: PathId, through: Vec<Vec<u8>>) {
        let at = self.now + self.path(id).latency();
        for datagram in through {
            self.queue.schedule(at, Happening::Arrive(id, datagram));
        }
        if let Some(due) = self.path(id).next_release() {
            self.queue.schedule(due.max(self.now), Happening::Release(id));
        }
    }

    fn receive(&mut self, client: usize, source: From, datagram: Vec<u8>) {
        self.clients[client].receive(source, datagram);
        self.schedule_poll(client, self.now);
    }

    fn schedule_tick(&mut self, index: usize, has_news: bool) {
        let Some(at) = self.sources[index].next_tick(self.now, has_news) else { return };
        if self.ticks[index].is_none_or(|tick| at < tick) {
            self.ticks[index] = Some(at);
            self.queue.schedule(at, Happening::Tick(index));
        }
    }

    fn schedule_poll(&mut self, index: usize, at: Nanos) {
        let client = &mut self.clients[index];
        let at = client.present_at(at);
        if client.poll_at.is_none_or(|poll_at| at < poll_at) {
            client.poll_at = Some(at);
            self.queue.schedule(at, Happening::Poll(index));
        }
    }

    fn poll(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.poll_at != Some(self.now) {
            return;
        }
        client.poll_at = None;
        let truths: Vec<&Truth> = self.sources.iter().map(|source| &source.truth).collect();
        let polled = client.poll(self.now, &truths);
        for request in polled.requests {
            self.transmit(PathId::Request(index, request.target), &request.request.to_bytes());
        }
        if let Some(at) = polled.next_poll {
            self.schedule_poll(index, at);
        }
    }

    /// Once links are clean, everybody has everything: delivered, or told.
    fn check_the_end(&self) {
        for (index, client) in self.clients.iter().enumerate() {
            let (subscription, oracle) = (&client.subscription, &client.oracle);
            if oracle.is_stopped {
                assert_eq!(client.plan.config.gap_policy, GapPolicy::Stop);
                continue;
            }
            let Some(view) = &oracle.view else { panic!("client {index} has never heard anything") };
            let last = match client.plan.config.session {
                SessionChoice::Any => self.sources.last(),
                SessionChoice::Only(session) => self.sources.iter().find(|source| source.truth.session == session),
            };
            let truth = &last.expect("there is a session").truth;
            assert_eq!(view.session, truth.session, "client {index} is not in the last session");
            let counters = subscription.counters();
            let first = counters.lines[0].first + counters.lines[1].first;
            assert_eq!(first + counters.recovered, counters.messages, "client {index}: {counters:?}");
            assert!(client.records.judged == counters.gaps || counters.gaps > 128, "client {index} forgot a gap");
            let is_last = self.sources.last().is_some_and(|source| source.truth.session == truth.session);
            assert!(!is_last || view.is_ended == truth.is_ended, "client {index} missed the end");
            assert_eq!(subscription.open_gaps(), 0, "client {index} waits for ever");
            assert_eq!(subscription.window_messages(), 0, "client {index} holds something back");
            assert_eq!(subscription.next(), subscription.highest(), "client {index} is behind");
            if is_last && (truth.is_ended || !truth.is_over) {
                let next = match client.plan.start(view.session, view.is_first) {
                    Start::At(first) => truth.sent.max(first),
                    _ => truth.sent,
                };
                assert_eq!(subscription.next(), Some(next), "client {index} has not reached the end");
            }
        }
    }

    /// The numbers of the last session that a line lost on its way to a client.
    pub(crate) fn lost(&self, client: usize, line: Line) -> BTreeSet<SequenceNumber> {
        let sent = self.sources.last().map_or(1, |source| source.truth.sent);
        self.paths[client].lines[line.index()].lost(SequenceRange::new(1, sent))
    }

    /// What a client was told, in order, with the times.
    pub(crate) fn told(&self, client: usize) -> &[(Nanos, Told)] {
        &self.clients[client].oracle.told
    }
}
