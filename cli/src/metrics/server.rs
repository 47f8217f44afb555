//! One page over HTTP/1.1, a thread for each connection: who reads slowly keeps nobody waiting.

use super::exposition::CONTENT_TYPE;
use super::request::{self, Request, Status};
use crate::interrupt::Interrupt;
use crate::stats::LOOK;
use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, wait_readable};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The most connections at once: a few scrapers, each with one that hangs. Arbitrary.
const MOST_CONNECTIONS: usize = 16;

/// The longest head of a request: ten times what Prometheus sends.
const MOST_HEAD_BYTES: usize = 8 << 10;

/// How long a connection may take in all: as long as Prometheus waits for a page unless told otherwise.
const MOST_TIME: Nanos = Nanos::from_secs(10);

/// How long the head of a request may take: half of that.
const MOST_HEAD_TIME: Nanos = Nanos::from_secs(5);

/// How long what still comes after a refusal is thrown away, so that the refusal is not lost with it (RFC 9112, 9.6). Arbitrary.
const LINGER: Nanos = Nanos::from_millis(500);

/// How long it waits after it could not accept a connection, for want of descriptors for example. Arbitrary.
const PAUSE: Nanos = Nanos::from_millis(100);

/// Makes the page, or says why there is none.
type Page = dyn Fn() -> Result<String, String> + Send + Sync;

pub(super) struct Server {
    listener: TcpListener,
    page: Arc<Page>,
    open: Arc<AtomicUsize>,
}

/// Counts a connection for as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    pub(super) fn new(
        listener: TcpListener,
        page: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self { listener, page: Arc::new(page), open: Arc::default() }
    }

    /// Serves until it is interrupted; what is under way then is cut off.
    pub(super) fn run(&self, interrupt: &Interrupt) -> io::Result<()> {
        // A connection may be gone again when it is accepted.
        self.listener.set_nonblocking(true)?;
        while !interrupt.is_raised() {
            if !wait_readable(&[self.listener.as_raw_fd()], Some(LOOK))? {
                continue;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.take(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    wait_readable(&[], Some(PAUSE))?;
                }
            }
        }
        Ok(())
    }

    /// Answers on a thread of its own; turns away whoever is one too many.
    fn take(&self, stream: TcpStream) {
        let is_full = self.open.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS;
        let open = Open(Arc::clone(&self.open));
        if is_full {
            // The head of an answer fits into any send buffer; if it cannot be sent, the connection just ends.
            let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write_all(&answer(request::BUSY, "")));
            return;
        }
        let page = Arc::clone(&self.page);
        // Without a thread the connection just ends, and its scraper comes again.
        let _ = thread::Builder::new().name("scrape".to_owned()).spawn(move || {
            let _open = open;
            // Whoever is gone needs no answer.
            let _ = converse(&stream, &*page);
        });
    }
}

/// Reads a request and answers it.
fn converse(stream: &TcpStream, page: &Page) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let begin = Clock::now();
    let end = begin + MOST_TIME;
    let words = match read(stream, begin + MOST_HEAD_TIME)? {
        Request::Metrics => match page() {
            Ok(text) => answer(request::OK, &text),
            Err(words) => answer(request::FAILED, &format!("{words}\n")),
        },
        Request::Refused(status) => answer(status, &format!("{}\n", status.1)),
    };
    write(stream, &words, end)?;
    stream.shutdown(Shutdown::Write)?;
    let end = end.min(Clock::now() + LINGER);
    let mut rest = [0; MOST_HEAD_BYTES];
    while receive(stream, &mut rest, end)? > 0 {}
    Ok(())
}

fn read(stream: &TcpStream, end: Nanos) -> io::Result<Request> {
    let mut head = [0; MOST_HEAD_BYTES];
    let mut length = 0;
    loop {
        match receive(stream, &mut head[length..], end) {
            Ok(0) => return Ok(Request::Refused(request::BAD_REQUEST)),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(Request::Refused(request::TOO_SLOW)),
            Err(error) => return Err(error),
        }
        if let Some(request) = request::parse(&head[..length]) {
            return Ok(request);
        }
        if length == head.len() {
            return Ok(Request::Refused(request::TOO_LONG));
        }
    }
}

/// Receives something before `end`.
fn receive(mut stream: &TcpStream, bytes: &mut [u8], end: Nanos) -> io::Result<usize> {
    loop {
        stream.set_read_timeout(Some(rest(end)?))?;
        match stream.read(bytes) {
            Err(error) if is_passing(&error) => {}
            received => return received,
        }
    }
}

/// Sends all of it before `end`, however little the reader takes at once.
fn write(mut stream: &TcpStream, mut bytes: &[u8], end: Nanos) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(rest(end)?))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether only the time was over, which is looked at before the next attempt, or a signal came.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn rest(end: Nanos) -> io::Result<std::time::Duration> {
    let rest = end - Clock::now();
    // A time-out is at least a microsecond: none at all would be for ever.
    if rest < Nanos::from_micros(1) { Err(ErrorKind::TimedOut.into()) } else { Ok(rest.as_duration()) }
}

fn answer((status, reason): Status, text: &str) -> Vec<u8> {
    let allow = if (status, reason) == request::NOT_ALLOWED { "Allow: GET\r\n" } else { "" };
    let kind = if status == request::OK.0 { CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    [head.as_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// Ends the server when it is dropped, whatever became of the test.
    struct Raise(Interrupt);

    impl Drop for Raise {
        fn drop(&mut self) {
            self.0.raise();
        }
    }

    /// Serves a page until the function ends.
    fn serve(page: &str, test: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let page = page.to_owned();
        let interrupt = Interrupt::counted(0);
        let server =
            Server::new(listener, move || if page.is_empty() { Err("why".to_owned()) } else { Ok(page.clone()) });
        thread::scope(|scope| {
            let stop = interrupt.clone();
            scope.spawn(move || server.run(&stop).unwrap());
            let _raise = Raise(interrupt);
            test(address);
        });
    }

    fn connect(address: SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Nanos::from_secs(30).as_duration())).unwrap();
        stream.write_all(request).unwrap();
        stream
    }

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut answer = String::new();
        connect(address, request).read_to_string(&mut answer).unwrap();
        answer
    }

    const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[test]
    fn the_page_is_had_and_everything_else_is_refused() {
        serve("up 1\n", |address| {
            let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                            Content-Length: 5\r\nConnection: close\r\n\r\nup 1\n";
            assert_eq!(ask(address, GET), expected);
            let post = ask(address, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
            assert!(
                post.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && post.contains("\r\nAllow: GET\r\n"),
                "{post}"
            );
            assert!(ask(address, b"GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 Not Found\r\n"));
            assert!(ask(address, b"\x16\x03\x01\n\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
            let long = [b"GET /metrics HTTP/1.1\r\nX: ", &[b'x'; 3 * MOST_HEAD_BYTES][..]].concat();
            assert!(ask(address, &long).starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        });
    }

    #[test]
    fn what_has_no_page_says_why() {
        serve("", |address| {
            let answer = ask(address, GET);
            assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n") && answer.ends_with("\r\n\r\nwhy\n"));
        });
    }

    #[test]
    fn clients_that_hang_keep_nobody_waiting_and_are_bounded() {
        // Longer than what both sockets hold, so that a client that does not read hangs in the middle of it.
        let page = "x".repeat(32 << 20);
        serve(&page, |address| {
            let begin = Clock::now();
            let silent: Vec<_> = (0..MOST_CONNECTIONS - 2).map(|_| connect(address, b"GET /met")).collect();
            let unread = connect(address, GET);
            let answer = ask(address, GET);
            assert!(answer.ends_with(&page[..100]) && answer.len() > page.len());
            let last = connect(address, b"GET");
            let mut busy = String::new();
            while !busy.starts_with("HTTP/1.1 503 ") {
                assert!(Clock::now() - begin < MOST_HEAD_TIME, "they still hang");
                // The answer may be lost when the request was not read.
                busy.clear();
                let _ = connect(address, GET).read_to_string(&mut busy);
            }
            drop((silent, unread, last));
        });
    }

    #[test]
    fn a_request_that_does_not_end_is_ended() {
        serve("up 1\n", |address| {
            assert!(ask(address, b"GET /metrics HTTP/1.1\r\n").starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        });
    }
}
