//! Keeps the last message of the publisher's example `quotes`, on loopback, until the session ends.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use seqcast_subscriber::{Event, Idle, IdleStrategy, Line, Start, Subscriber};
use std::error::Error;

/// What a real one would build from the messages.
#[derive(Debug, Default)]
struct Book {
    last: Vec<u8>,
    messages: u64,
    is_stale: bool,
    has_holes: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut subscriber = Subscriber::builder("QUOTES".parse()?)
        .line(Line::A, "239.255.77.2:30002@127.0.0.1".parse()?)
        .recover_from("127.0.0.1:30102".parse()?)
        .start(Start::Oldest)
        .open()?;
    let mut book = Book::default();
    let mut idle = Idle::new(IdleStrategy::Backoff);
    let mut open = true;
    while open {
        let work = subscriber.poll(
            |event| match event {
                Event::Message(message) => {
                    book.last.clear();
                    book.last.extend_from_slice(message.payload);
                    book.messages += 1;
                }
                Event::Gap(gap) => {
                    book.is_stale = true;
                    println!("stale: {} missing ({:?})", gap.range, gap.origin);
                }
                Event::Recovered(recovered) => {
                    book.is_stale = false;
                    println!("fresh: {} arrived after {:?}", recovered.range, recovered.elapsed.as_duration());
                }
                Event::Lost(loss) => {
                    book.has_holes = true;
                    book.is_stale = false;
                    println!("lost: {} ({:?})", loss.range, loss.cause);
                }
                Event::NewSession(_) | Event::Rewound(_) => book = Book::default(),
                Event::EndOfSession(end) => {
                    println!("{} has ended at {}", end.session, end.next);
                    open = false;
                }
                Event::Status(status) => println!("{status:?}"),
            },
            64,
        );
        idle.idle(work);
    }
    println!("{book:?}");
    Ok(())
}
