//! What `seqcast metrics` shows.

use crate::prometheus::Metrics;
use crate::support::{Place, Running};
use std::io::{Read, Write};
use std::net::TcpStream;

/// `seqcast metrics` on a free port, and where that is.
pub(crate) fn serve(place: &Place, directory: &str) -> (Running, String) {
    let mut serving = place.seqcast(&["metrics", "--stats", directory, "--listen", "127.0.0.1:0"]).start();
    serving.wait_for_words("/metrics\n");
    let words = serving.errors();
    let address = words.strip_prefix("serving http://").unwrap().split('/').next().unwrap().to_owned();
    (serving, address)
}

/// What is shown there.
pub(crate) fn scrape(address: &str) -> Metrics {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(&format!("Content-Length: {}", page.len())),
        "{head}"
    );
    Metrics::parse(page)
}
