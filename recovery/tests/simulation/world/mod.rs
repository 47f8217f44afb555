//! Runs a scenario: takes what happens next from the queue, lets it happen, and lets the oracle look.

mod requests;
mod verdict;

use crate::client::{Client, Terms};
use crate::network::{Path, Queue};
use crate::oracle::Told;
use crate::plan::{Ending, Scenario, SessionPlan};
use crate::ring::{LOOK_FOR_END, RingFile};
use crate::source::Source;
use crate::truth::Truth;
use requests::address;
use seqcast_protocol::{HEADER_BYTES, LENGTH_BYTES, SequenceNumber, SequenceRange};
use seqcast_recovery::{Line, Nanos, Source as From};
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
    /// A session's publisher takes a step of its input.
    Publish(usize, usize, usize),
    End(usize, usize),
    /// A publisher that was killed begins anew.
    Return(usize, usize),
    Tick(usize, usize),
    Release(PathId),
    Arrive(PathId, Vec<u8>),
    Poll(usize),
    /// A client that was killed begins anew.
    Revive(usize),
    /// A publisher's responder has time for an answer.
    Serve(usize, usize),
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
            for publisher in 0..sources[index].publishers.len() {
                let skew = Nanos(plan.skew.0 * publisher as u64);
                for (step, at) in plan.steps.iter().enumerate() {
                    queue.schedule(at.at + skew, Happening::Publish(index, publisher, step));
                }
                let (Ending::End(at) | Ending::Die(at)) = plan.ending;
                queue.schedule(at + skew, Happening::End(index, publisher));
            }
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
            clients.push(Client::new(
                plan,
                Terms { is_answered: scenario.is_answered, is_roomy, safe_from: scenario.clean_from },
            ));
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
        Self { now: Nanos::ZERO, scenario: scenario.clone(), queue, served: vec![], clients, paths, sources, steps: 0 }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begin(index) => {
                // The addresses are free for a new publisher once the one before is gone.
                self.sources[..index].iter_mut().for_each(Source::stop);
                self.sources[index].truth.has_begun = true;
                for publisher in 0..self.sources[index].publishers.len() {
                    self.schedule_tick(index, publisher, true);
                }
            }
            Happening::Publish(index, publisher, step) => {
                let now = self.now;
                let back_at = self.send(|world, send| world.sources[index].publish(publisher, step, now, send));
                self.schedule_tick(index, publisher, true);
                self.wake_ring_clients(Nanos::ZERO);
                if let Some(at) = back_at {
                    self.queue.schedule(at, Happening::Return(index, publisher));
                }
            }
            Happening::Return(index, publisher) => {
                let now = self.now;
                self.send(|world, send| world.sources[index].come_back(publisher, now, send));
                self.schedule_tick(index, publisher, true);
                self.wake_ring_clients(LOOK_FOR_END);
            }
            Happening::End(index, publisher) => {
                self.sources[index].end(publisher);
                self.schedule_tick(index, publisher, true);
                self.wake_ring_clients(LOOK_FOR_END);
            }
            Happening::Tick(index, publisher) => {
                let now = self.now;
                let tick_at = &mut self.sources[index].publishers[publisher].tick_at;
                if *tick_at == Some(now) {
                    *tick_at = None;
                    self.send(|world, send| world.sources[index].tick(publisher, now, send));
                    self.schedule_tick(index, publisher, false);
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
                self.ask(address(client, self.clients[client].life, target), &datagram);
            }
            Happening::Poll(client) => self.poll(client),
            Happening::Revive(client) => {
                self.clients[client].come_back(self.now);
                self.schedule_poll(client, self.now);
            }
            Happening::Serve(index, publisher) => {
                let serve_at = &mut self.sources[index].publishers[publisher].serve_at;
                if *serve_at == Some(self.now) {
                    *serve_at = None;
                    self.serve(index, publisher);
                }
            }
            Happening::Flood(index, count) => self.flood(index, count),
        }
    }

    /// Lets `act` send packets on lines.
    fn send<T>(&mut self, act: impl FnOnce(&mut Self, &mut dyn FnMut(Line, &[u8])) -> T) -> T {
        let mut packets = vec![];
        let result = act(self, &mut |line, packet| packets.push((line, packet.to_vec())));
        for (line, packet) in packets {
            self.multicast(line, &packet);
        }
        result
    }

    fn multicast(&mut self, line: Line, packet: &[u8]) {
        assert!(packet.len() >= HEADER_BYTES);
        for client in 0..self.clients.len() {
            let plan = &self.scenario.clients[client];
            let has_path = line.index() < plan.lines.len() && plan.ring != Some(line);
            if self.now >= plan.joins && has_path {
                self.transmit(PathId::Line(client, line), packet);
            }
        }
    }

    /// Lets those who follow the ring look at it, this much later than they do.
    fn wake_ring_clients(&mut self, delay: Nanos) {
        for client in 0..self.clients.len() {
            let plan = &self.scenario.clients[client];
            if plan.ring.is_some() && self.now >= plan.joins {
                self.schedule_poll(client, self.now + delay + plan.ring_lag);
            }
        }
    }

    fn path(&mut self, id: PathId) -> &mut Path {
        match id {
            PathId::Line(client, line) => &mut self.paths[client].lines[line.index()],
            PathId::Request(client, target) => {
                &mut self.paths[client].requests[target - self.scenario.clients[client].ring_targets()]
            }
            PathId::Answer(client, target) => {
                &mut self.paths[client].answers[target - self.scenario.clients[client].ring_targets()]
            }
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

    fn schedule_tick(&mut self, index: usize, publisher: usize, has_news: bool) {
        let mine = &mut self.sources[index].publishers[publisher];
        let Some(at) = mine.next_tick(self.now, has_news) else { return };
        if mine.tick_at.is_none_or(|tick| at < tick) {
            mine.tick_at = Some(at);
            self.queue.schedule(at, Happening::Tick(index, publisher));
        }
    }

    fn schedule_poll(&mut self, index: usize, at: Nanos) {
        let client = &mut self.clients[index];
        let Some(at) = client.present_at(at) else { return };
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
        let has_writer = |index: usize| self.sources[index].publishers[0].is_alive();
        let file = self.sources.iter().rposition(|source| source.truth.has_begun).map(|index| RingFile {
            index,
            memory: &self.sources[index].publishers[0].memory,
            has_writer: &has_writer,
        });
        let polled = client.poll(self.now, &truths, file.as_ref());
        for request in polled.requests {
            match (&mut self.clients[index].ring, request.target) {
                (Some(ring), 0) => {
                    ring.ask(request.request);
                    self.schedule_poll(index, self.now);
                }
                _ => self.transmit(PathId::Request(index, request.target), &request.request.to_bytes()),
            }
        }
        if let Some(at) = polled.back_at {
            self.queue.schedule(at, Happening::Revive(index));
        }
        if let Some(at) = polled.next_poll {
            self.schedule_poll(index, at);
        }
    }

    /// The numbers of the last session that a line lost on its way to a client.
    pub(crate) fn lost(&self, client: usize, line: Line) -> BTreeSet<SequenceNumber> {
        let end = self.sources.last().map_or(1, |source| source.truth.retained);
        self.paths[client].lines[line.index()].lost(SequenceRange::new(1, end))
    }

    /// What a client was told, in order, with the times.
    pub(crate) fn told(&self, client: usize) -> &[(Nanos, Told)] {
        &self.clients[client].oracle.told
    }
}
