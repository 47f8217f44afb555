//! The clients that asked last, each in a row of its own for as long as it is one of them.

use seqcast_recovery::{ClientReport, Nanos, Refusal, ResponderCounters};
use seqcast_stats::{Description, StatsFile, Table, Unit};
use std::array;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many clients are told of. Arbitrary: more than are looked at, and few enough that one is found in tens of nanoseconds.
const ROWS: usize = 64;

/// Of a row that nobody has: no datagram comes from there.
const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Who has a row.
#[derive(Clone, Copy, Debug)]
struct Tenant {
    address: SocketAddrV4,
    asked_at: Nanos,
    /// What stands in the row.
    written: Option<ClientReport>,
}

/// The table, and who has which row.
#[derive(Debug)]
pub(super) struct ClientRows {
    table: Table,
    tenants: [Tenant; ROWS],
}

impl ClientRows {
    /// Adds the table to a description; to be called with the file that is made of it.
    pub(super) fn describe(description: &mut Description) -> impl FnOnce(&StatsFile) -> Self + use<> {
        let requests = Unit::count("requests");
        let refusals = Refusal::ALL.map(|refusal| format!("refused_{}", refusal.name()));
        let mut fields = vec![
            ("address", Unit::Address),
            ("last_heard", Unit::Time),
            ("requests", requests.clone()),
            ("retransmissions", Unit::count("packets")),
            ("messages", Unit::count("messages")),
            ("overwritten", requests.clone()),
            ("bytes", Unit::Bytes),
        ];
        fields.extend(refusals.iter().map(|name| (name.as_str(), requests.clone())));
        let table = description.table("clients", ROWS, &fields);
        let nobody = Tenant { address: NOBODY, asked_at: Nanos::ZERO, written: None };
        move |file| Self { table: file.table(table), tenants: [nobody; ROWS] }
    }

    /// Notes that a client has asked: if it has no row, it gets that of the one that has not asked for longest.
    pub(super) fn note_request(&mut self, now: Nanos, client: SocketAddrV4) {
        let found = self.tenants.iter_mut().find(|tenant| tenant.address == client);
        match found {
            Some(tenant) => tenant.asked_at = now,
            None => {
                let longest = self.tenants.iter_mut().min_by_key(|tenant| tenant.asked_at);
                let tenant = longest.expect("there are rows");
                *tenant = Tenant { address: client, asked_at: now, ..*tenant };
            }
        }
    }

    /// Writes the rows in which something has changed. That of a client of which nothing is known any more is empty.
    pub(super) fn write<'a>(&mut self, report: impl Fn(SocketAddrV4) -> Option<&'a ClientReport>) {
        for (row, tenant) in self.tenants.iter_mut().enumerate() {
            let found = report(tenant.address).copied();
            if found == tenant.written {
                continue;
            }
            match &found {
                Some(report) => self.table.set(row, &words(report)),
                None => self.table.clear(row),
            }
            tenant.written = found;
        }
    }
}

/// Words in front of those of the refusals.
const HEAD_WORDS: usize = 7;

fn words(report: &ClientReport) -> [u64; HEAD_WORDS + Refusal::ALL.len()] {
    let ClientReport { address, last_heard, counters } = report;
    let ResponderCounters { requests, retransmissions, messages, overwritten, bytes, refused } = counters;
    let address = Unit::address_word(*address);
    let head = [address, last_heard.0, *requests, *retransmissions, *messages, *overwritten, *bytes];
    array::from_fn(|word| head.get(word).copied().unwrap_or_else(|| refused[word - HEAD_WORDS]))
}
