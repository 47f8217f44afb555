//! A subscriber in an event loop of mio: one registration for all of its sockets.
//!
//! Register it as readable; then wait for its [`timeout`](Subscriber::timeout), or for its token, and call
//! [`poll`](Subscriber::poll) until it returns 0, because mio tells of new datagrams only once.

use crate::Subscriber;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, event::Source};
use std::io;

impl Source for Subscriber {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.all_fds().iter().try_for_each(|fd| SourceFd(fd).register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.all_fds().iter().try_for_each(|fd| SourceFd(fd).reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.all_fds().iter().try_for_each(|fd| SourceFd(fd).deregister(registry))
    }
}
