//! Whom the responder knows, and whose turn it is.

use super::budget::Bucket;
use super::counters::ClientReport;
use super::queue::Queue;
use alloc::{boxed::Box, vec::Vec};
use core::net::{Ipv4Addr, SocketAddrV4};
use core::ops::{Index, IndexMut};

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) report: ClientReport,
    pub(super) bucket: Option<Bucket>,
    pub(super) queue: Queue,
}

/// The clients, in slots: a bounded number, all allocated at the beginning.
///
/// Invariants: slots `0..index.len()` are known; each of them is in just one list, in that of the waiting if and only if
/// its queue is not empty.
#[derive(Debug)]
pub(super) struct Clients {
    slots: Box<[Client]>,
    /// By address, sorted: no choice of addresses makes a look-up longer than `log2` of the limit.
    index: Vec<(SocketAddrV4, u32)>,
    lists: Lists,
    full_bucket: Option<Bucket>,
}

impl Clients {
    /// Room for `limit` clients, each with a queue of `queue_length` requests; both are at least 1.
    pub(super) fn new(limit: usize, queue_length: usize, full_bucket: Option<Bucket>) -> Self {
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let client =
            || Client { report: ClientReport::new(nobody), bucket: full_bucket, queue: Queue::new(queue_length) };
        Self {
            slots: core::iter::repeat_with(client).take(limit).collect(),
            index: Vec::with_capacity(limit),
            lists: Lists::new(limit),
            full_bucket,
        }
    }

    /// The slot of a client that is known.
    pub(super) fn find(&self, address: SocketAddrV4) -> Option<usize> {
        let place = self.place(address).ok()?;
        Some(self.index[place].1 as usize)
    }

    /// Makes `address` known and returns its slot. When there is no room, whoever has been idle for longest is forgotten
    /// if `may_displace`; `None` when nobody is.
    pub(super) fn admit(&mut self, address: SocketAddrV4, may_displace: bool) -> Option<usize> {
        let slot = if self.index.len() < self.slots.len() {
            self.index.len()
        } else {
            let longest_idle = self.lists.front(List::Idle).filter(|_| may_displace)?;
            let forgotten = self.place(self.slots[longest_idle].report.address).expect("a listed client is known");
            self.index.remove(forgotten);
            longest_idle
        };
        let place = self.place(address).expect_err("a client is admitted once");
        self.index.insert(place, (address, slot as u32));
        let client = &mut self.slots[slot];
        (client.report, client.bucket) = (ClientReport::new(address), self.full_bucket);
        client.queue.clear();
        self.move_to_back(slot);
        Some(slot)
    }

    fn place(&self, address: SocketAddrV4) -> Result<usize, usize> {
        self.index.binary_search_by_key(&address, |&(address, _)| address)
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> Option<usize> {
        self.lists.front(List::Waiting)
    }

    /// Puts a client behind all others that wait, as it does, or behind all others that are idle.
    pub(super) fn move_to_back(&mut self, slot: usize) {
        let list = if self.slots[slot].queue.is_empty() { List::Idle } else { List::Waiting };
        self.lists.move_to_back(slot, list);
    }

    /// What is known, by address.
    pub(super) fn reports(&self) -> impl ExactSizeIterator<Item = &ClientReport> {
        self.index.iter().map(|&(_, slot)| &self.slots[slot as usize].report)
    }
}

impl Index<usize> for Clients {
    type Output = Client;

    fn index(&self, slot: usize) -> &Client {
        &self.slots[slot]
    }
}

impl IndexMut<usize> for Clients {
    fn index_mut(&mut self, slot: usize) -> &mut Client {
        &mut self.slots[slot]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// By the time since when.
    Idle,
    /// By whose turn is next.
    Waiting,
}

/// Two rings of slots, each closed by a link of its own: the front is behind it, the back before it.
#[derive(Debug)]
struct Lists {
    links: Box<[Link]>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    behind: u32,
}

impl Lists {
    /// Both empty; the slots `0..limit` are in none.
    fn new(limit: usize) -> Self {
        let alone = |link| Link { before: link, behind: link };
        Self { links: (0..limit as u32 + 2).map(alone).collect() }
    }

    fn end(&self, list: List) -> usize {
        self.links.len() - 1 - list as usize
    }

    fn front(&self, list: List) -> Option<usize> {
        let end = self.end(list);
        let front = self.links[end].behind as usize;
        (front != end).then_some(front)
    }

    /// Takes a slot out of the list that it is in, if any, and puts it at the back of `list`.
    fn move_to_back(&mut self, slot: usize, list: List) {
        let Link { before, behind } = self.links[slot];
        self.links[before as usize].behind = behind;
        self.links[behind as usize].before = before;
        let end = self.end(list);
        let back = self.links[end].before;
        self.links[slot] = Link { before: back, behind: end as u32 };
        self.links[back as usize].behind = slot as u32;
        self.links[end].before = slot as u32;
    }
}
