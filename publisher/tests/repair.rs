//! Those who ask for messages: whom a publisher answers, and what it knows of them.

use seqcast_protocol::{Packet, Request, SequenceRange, SessionId};
use seqcast_publisher::{Budget, ClientReport, Line, OpenError, Publisher, PublisherBuilder, Refusal};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

fn builder() -> PublisherBuilder {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Publisher::builder("REPAIR".parse().unwrap())
        .line(Line::A, format!("239.255.78.105:{port}@127.0.0.1").parse().unwrap())
        .requests("127.0.0.1:0".parse().unwrap())
        .retain_bytes(1 << 20)
}

/// Has published 100 messages, each in a packet of its own.
fn open(builder: PublisherBuilder) -> Publisher {
    let mut publisher = builder.open().unwrap();
    for _ in 0..100 {
        publisher.publish(&[7; 1_000]).unwrap();
    }
    assert_eq!(publisher.flush().unwrap().range.end(), 101);
    publisher
}

struct Client {
    socket: UdpSocket,
}

impl Client {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket }
    }

    fn ask(&self, publisher: &Publisher, number: u64) {
        let request = Request::new(SessionId::UNKNOWN, SequenceRange::new(number, number + 1)).unwrap();
        self.socket.send_to(&request.to_bytes(), publisher.request_address().unwrap()).unwrap();
    }

    /// The number in the next answer.
    fn answer(&self) -> u64 {
        let mut buffer = [0; 2_000];
        let length = self.socket.recv(&mut buffer).unwrap();
        Packet::parse(&buffer[..length]).unwrap().sequence()
    }

    /// What the publisher knows of this client, once it has had so many requests.
    fn report(&self, publisher: &Publisher, requests: u64) -> ClientReport {
        let address = self.socket.local_addr().unwrap();
        let is_mine = |report: &ClientReport| SocketAddr::V4(report.address) == address;
        for _ in 0..10_000 {
            let report = publisher.clients().into_iter().find(is_mine);
            if let Some(report) = report.filter(|report| report.counters.requests >= requests) {
                return report;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("{requests} requests of {address} were not reported: {:?}", publisher.clients());
    }
}

fn refused(report: &ClientReport, refusal: Refusal) -> u64 {
    report.counters.refused[refusal as usize]
}

#[test]
fn the_publisher_knows_who_asked_for_how_much() {
    let publisher = open(builder());
    let (one, other) = (Client::new("127.0.0.1"), Client::new("127.0.0.2"));
    for number in 1..=10 {
        one.ask(&publisher, number);
        assert_eq!(one.answer(), number);
    }
    other.ask(&publisher, 1);
    assert_eq!(other.answer(), 1);
    other.ask(&publisher, 101);
    let (one, other) = (one.report(&publisher, 10), other.report(&publisher, 2));
    assert_eq!((one.counters.retransmissions, one.counters.messages, one.counters.bytes), (10, 10, 10 * 1_022));
    assert_eq!((other.counters.retransmissions, refused(&other, Refusal::NotYet)), (1, 1));
    assert!(other.last_heard > one.last_heard);
    assert_eq!(publisher.clients().len(), 2);
    assert_eq!(publisher.counters().retransmitter.responder.requests, 12);
}

#[test]
fn requests_from_networks_that_are_not_allowed_get_silence() {
    let allowed = "127.0.0.2/31".parse().unwrap();
    let publisher = open(builder().allow_requests("127.0.0.9/32".parse().unwrap()).allow_requests(allowed));
    let (client, stranger) = (Client::new("127.0.0.3"), Client::new("127.0.0.1"));
    stranger.ask(&publisher, 1);
    client.ask(&publisher, 2);
    assert_eq!(client.answer(), 2);
    let report = stranger.report(&publisher, 1);
    assert_eq!((refused(&report, Refusal::Network), report.counters.bytes), (1, 0));
}

#[test]
fn who_is_over_its_budget_gets_silence() {
    let budget = Budget { bytes_per_s: 1, burst_bytes: 3_000 };
    let publisher = open(builder().client_budget(budget));
    let (greedy, modest) = (Client::new("127.0.0.1"), Client::new("127.0.0.1"));
    (1..=20).for_each(|number| greedy.ask(&publisher, number));
    assert_eq!((greedy.answer(), greedy.answer()), (1, 2));
    modest.ask(&publisher, 3);
    assert_eq!(modest.answer(), 3);
    let report = greedy.report(&publisher, 20);
    assert_eq!((report.counters.bytes, refused(&report, Refusal::ClientBudget)), (2_044, 18));
}

#[test]
fn the_linger_and_the_bound_on_clients_are_as_set() {
    let publisher = open(builder().answer_linger(Duration::from_secs(60)).client_limit(1));
    let first = Client::new("127.0.0.1");
    first.ask(&publisher, 1);
    assert_eq!(first.answer(), 1);
    first.ask(&publisher, 1);
    assert_eq!(refused(&first.report(&publisher, 2), Refusal::Linger), 1);
    let second = Client::new("127.0.0.1");
    second.ask(&publisher, 1);
    assert_eq!(second.answer(), 1);
    second.report(&publisher, 1);
    assert_eq!(publisher.clients().len(), 1);
    assert_eq!(publisher.counters().retransmitter.responder.requests, 3);
}

#[test]
fn a_call_of_the_publishing_thread_gives_a_few_answers_and_no_more() {
    let mut publisher = open(builder().requests_inline(true));
    let client = Client::new("127.0.0.1");
    (1..=40).for_each(|number| client.ask(&publisher, number));
    assert_eq!(publisher.clients(), []);
    let mut answered = 0;
    while answered < 40 {
        publisher.do_work();
        let now_answered = publisher.counters().retransmitter.responder.retransmissions;
        assert!((1..=4).contains(&(now_answered - answered)), "{answered}, then {now_answered}");
        answered = now_answered;
    }
    (1..=40).for_each(|number| assert_eq!(client.answer(), number));
    assert_eq!(client.report(&publisher, 40).counters.retransmissions, 40);
}

#[test]
fn what_the_retransmitters_thread_cannot_have_is_named() {
    let error = builder().retransmitter_priority(0).open().unwrap_err();
    assert!(matches!(error, OpenError::Priority(_)), "{error}");
    // Whether this process may is the machine's choice.
    match builder().retransmitter_priority(1).open() {
        Ok(publisher) => drop(publisher),
        Err(error) => assert!(matches!(error, OpenError::Priority(_)), "{error}"),
    }
    let error = builder().retransmitter_core(0).requests_inline(true).open().unwrap_err();
    assert!(matches!(error, OpenError::NoThread), "{error}");
    let error = builder().retransmitter_priority(1).open_split().unwrap_err();
    assert!(matches!(error, OpenError::NoThread), "{error}");
}
