//! What the tests of the command share: a place of its own for each test (files, multicast group, request address), child
//! processes that end with the test, and waits that are bounded in time.
//!
//! Traffic stays on 127.0.0.0/8. Each test has a port that it holds for as long as it runs, and a loopback address that
//! nobody else uses, so tests run in parallel and beside a publisher and a subscriber with default settings.

#![allow(dead_code, reason = "each test file uses its part")]

use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, wait_readable};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// The longest that anything is waited for: ten times what the slowest test takes on a busy machine.
pub(crate) const PATIENCE: Nanos = Nanos::from_secs(60);

/// Longer than any test takes, because a machine may be busy; a linger ends a second after the last request.
pub(crate) const LINGER: [&str; 2] = ["--linger", "50s"];

/// The distance between two looks at something that is waited for.
const TICK: Nanos = Nanos::from_millis(5);

/// The subcommands that keep counters, for all of the host to see unless told otherwise.
const KEEPS_COUNTERS: [&str; 3] = ["publish", "retransmit", "subscribe"];

/// Sleeps.
pub(crate) fn pause(time: Nanos) {
    let end = Clock::now() + time;
    loop {
        let now = Clock::now();
        if now >= end {
            return;
        }
        // An interrupted sleep goes on.
        wait_readable(&[], Some(end - now)).unwrap();
    }
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Clock::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Clock::now() < end, "waited in vain for {what}");
        pause(TICK);
    }
}

/// Seconds since `start`.
pub(crate) fn seconds_since(start: Nanos) -> f64 {
    (Clock::now() - start).as_duration().as_secs_f64()
}

/// The place of one test.
pub(crate) struct Place {
    directory: PathBuf,
    group: Ipv4Addr,
    requests: SocketAddrV4,
    /// Held so that no other test is given its port.
    port: UdpSocket,
}

impl Place {
    /// Makes a place; `name` is the test's.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let index = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{process}"));
        fs::create_dir_all(&directory).unwrap();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = Ipv4Addr::new(127, 79 + index, (process >> 8) as u8, process as u8 | 1);
        let requests = SocketAddrV4::new(own, free_port(own));
        Self { directory, group: Ipv4Addr::new(239, 255, 79, index), requests, port }
    }

    /// A file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file of this test.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The group and port of line A.
    pub(crate) fn line(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.group, self.port.local_addr().unwrap().port())
    }

    /// The request address.
    pub(crate) fn requests(&self) -> SocketAddrV4 {
        self.requests
    }

    /// Where this test's commands keep their counters.
    pub(crate) fn stats(&self) -> PathBuf {
        self.path("stats")
    }

    /// `seqcast ARGUMENTS`; counters are kept in this test's directory.
    pub(crate) fn seqcast(&self, arguments: &[&str]) -> Seqcast<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast"));
        let (subcommand, options) = arguments.split_at(1.min(arguments.len()));
        command.args(subcommand);
        if subcommand.iter().any(|subcommand| KEEPS_COUNTERS.contains(subcommand)) {
            command.arg("--stats").arg(self.stats());
        }
        command.args(options).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
        Seqcast { command, place: self, has_output_pipe: false }
    }

    /// Another command, such as a shell that limits what `seqcast` may use.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Seqcast<'_> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        Seqcast { command, place: self, has_output_pipe: false }
    }

    /// `seqcast publish` of a file on this test's line, answering at its request address.
    pub(crate) fn publish(&self, input: &Path, arguments: &[&str]) -> Seqcast<'_> {
        let (line, requests) = (self.line().to_string(), self.requests.to_string());
        let mut publish = self.seqcast(&["publish", "--json", "--line-a", &line, "--requests", &requests, "--input"]);
        publish.command.arg(input).args(arguments);
        publish
    }

    /// `seqcast subscribe` of this test's line; nobody is asked.
    pub(crate) fn listen(&self, arguments: &[&str]) -> Seqcast<'_> {
        let line = self.line().to_string();
        let mut subscribe = self.seqcast(&["subscribe", "--json", "--line-a", &line]);
        subscribe.command.args(arguments);
        subscribe
    }

    /// `seqcast subscribe` of this test's line, asking at its request address.
    pub(crate) fn subscribe(&self, arguments: &[&str]) -> Seqcast<'_> {
        let requests = self.requests.to_string();
        let mut subscribe = self.listen(&["--recover-from", &requests]);
        subscribe.command.args(arguments);
        subscribe
    }

    /// Generates messages into a file of this test, as blocks.
    pub(crate) fn generate(&self, name: &str, messages: u64, seed: u64) -> PathBuf {
        let path = self.path(name);
        let (messages, seed) = (messages.to_string(), seed.to_string());
        let mut generate = self.seqcast(&["generate", "--messages", &messages, "--seed", &seed, "--output"]);
        generate.command.arg(&path);
        generate.run().expect_code(0);
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left over lies in cargo's directory for such files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port(address: Ipv4Addr) -> u16 {
    UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

/// A command to be started.
pub(crate) struct Seqcast<'a> {
    command: Command,
    place: &'a Place,
    has_output_pipe: bool,
}

impl Seqcast<'_> {
    /// Adds an option whose value is a path.
    pub(crate) fn with(mut self, option: &str, path: &Path) -> Self {
        self.command.arg(option).arg(path);
        self
    }

    /// Adds arguments.
    pub(crate) fn and(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Its standard input is a pipe.
    pub(crate) fn with_input_pipe(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Its standard output is a pipe that nobody reads but the test.
    pub(crate) fn with_output_pipe(mut self) -> Self {
        self.has_output_pipe = true;
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let words = format!("{:?}", self.command);
        let [output, errors] = ["stdout", "stderr"].map(|name| self.place.path(&format!("{number}.{name}")));
        if self.has_output_pipe {
            self.command.stdout(Stdio::piped());
        } else {
            self.command.stdout(File::create(&output).unwrap());
        }
        self.command.stderr(File::create(&errors).unwrap());
        let child = self.command.spawn().unwrap();
        Running { child, words, output, errors }
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}

/// A command that runs; it is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    words: String,
    output: PathBuf,
    errors: PathBuf,
}

impl Running {
    /// The pipe to its standard input.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("started with an input pipe")
    }

    /// The pipe from its standard output.
    pub(crate) fn take_output(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("started with an output pipe")
    }

    /// What it has said on standard error so far.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8(fs::read(&self.errors).unwrap()).unwrap()
    }

    /// Waits until it says `words` on standard error.
    #[track_caller]
    pub(crate) fn wait_for_words(&mut self, words: &str) {
        wait_for(words, || {
            let has_ended = self.has_ended();
            let errors = self.errors();
            assert!(errors.contains(words) || !has_ended, "{}: ended without {words:?}: {errors}", self.words);
            errors.contains(words).then_some(())
        });
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[expect(unsafe_code, reason = "the standard library only kills")]
    pub(crate) fn signal(&mut self, signal: i32) {
        assert!(!self.has_ended(), "{}: has ended: {}", self.words, self.errors());
        let process = self.child.id() as libc::pid_t;
        // SAFETY: kill takes plain numbers, and the process is a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(process, signal) }, 0);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let end = Clock::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Clock::now() < end, "{}: does not end; {}", self.words, self.errors());
            pause(TICK);
        };
        let output = fs::read(&self.output).unwrap_or_default();
        Ended { words: self.words.clone(), status, output, errors: self.errors() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command ended.
pub(crate) struct Ended {
    words: String,
    pub(crate) status: ExitStatus,
    /// What it wrote to standard output, unless that was a pipe.
    pub(crate) output: Vec<u8>,
    /// What it wrote to standard error.
    pub(crate) errors: String,
}

impl Ended {
    /// Asserts its exit code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}: {}", self.words, self.errors);
        self
    }

    /// The JSON object that it printed, and nothing else, on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.output)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.words, String::from_utf8_lossy(&self.output)))
    }

    /// The JSON object on standard error, among other words.
    #[track_caller]
    pub(crate) fn json_among_errors(&self) -> Value {
        let mut objects = self.errors.lines().filter(|line| line.starts_with('{'));
        let object = objects.next().unwrap_or_else(|| panic!("{}: {}", self.words, self.errors));
        assert_eq!(objects.next(), None, "one object");
        serde_json::from_str(object).unwrap()
    }
}

/// A number of a JSON object.
#[track_caller]
pub(crate) fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_else(|| panic!("{name} in {object}"))
}

/// Asserts that two long sequences of bytes are equal, without printing them.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    let first_difference = found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "{} bytes instead of {}, first difference at {first_difference:?}",
        found.len(),
        expected.len()
    );
}

/// The messages of a file of blocks.
pub(crate) fn messages(mut blocks: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let [high, low, rest @ ..] = blocks {
        let (message, rest) = rest.split_at(usize::from(*high) << 8 | usize::from(*low));
        messages.push(message);
        blocks = rest;
    }
    messages
}

/// Messages as a file of blocks.
pub(crate) fn blocks<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut blocks = Vec::new();
    for message in messages {
        blocks.extend((message.len() as u16).to_be_bytes());
        blocks.extend(message);
    }
    blocks
}

/// Writes all of `bytes` to a pipe on a thread of its own, and returns the pipe, still open.
pub(crate) fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) -> std::thread::JoinHandle<ChildStdin> {
    std::thread::spawn(move || {
        pipe.write_all(&bytes).unwrap();
        pipe
    })
}

/// Hears a line beside the command's subscribers; knows how far the publisher has come.
pub(crate) struct Observer {
    socket: UdpSocket,
}

impl Observer {
    /// Joins the line of a place.
    pub(crate) fn join(place: &Place) -> Self {
        Self { socket: join(place.line()) }
    }

    /// Waits for a packet that shows that the session has come to `next`.
    #[track_caller]
    pub(crate) fn wait_for_next(&self, next: u64) {
        let end = Clock::now() + PATIENCE;
        let mut packet = [0; 65_536];
        loop {
            assert!(Clock::now() < end, "the publisher does not come to {next}");
            let Ok(length) = self.socket.recv(&mut packet) else { continue };
            assert!(length >= 20, "shorter than a header");
            let sequence = u64::from_be_bytes(packet[10..18].try_into().unwrap());
            if sequence >= next {
                return;
            }
        }
    }
}

/// A socket that hears a group on loopback, waiting at most 100 ms per datagram.
pub(crate) fn join(line: SocketAddrV4) -> UdpSocket {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP)).unwrap();
    socket.set_reuse_address(true).unwrap();
    // As much as there is; what does not fit is dropped, and tests reckon with that.
    let _ = socket.set_recv_buffer_size(4 << 20);
    socket.bind(&line.into()).unwrap();
    socket.join_multicast_v4(line.ip(), &Ipv4Addr::LOCALHOST).unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Nanos::from_millis(100).as_duration())).unwrap();
    socket
}

/// Whether somebody is bound to a UDP address of this host.
pub(crate) fn is_bound(address: SocketAddrV4) -> bool {
    let number = u32::from_ne_bytes(address.ip().octets());
    let entry = format!(" {number:08X}:{:04X} ", address.port());
    File::open("/proc/net/udp").and_then(std::io::read_to_string).unwrap().contains(&entry)
}
