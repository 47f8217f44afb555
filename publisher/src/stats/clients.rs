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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Place;

    fn client(number: u64) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, number as u16)
    }

    fn report(number: u64, requests: u64) -> ClientReport {
        let counters = ResponderCounters { requests, refused: [1, 2, 3, 4, 5, 6, 7, 8, 9], ..Default::default() };
        ClientReport { address: client(number), last_heard: Nanos(number), counters }
    }

    /// Who stands in the table, by the time of writing, and how often they have asked.
    fn rows(place: &Place) -> Vec<(u64, u64)> {
        let snapshot = place.snapshot();
        let table = snapshot.table("clients").unwrap();
        let row = |row| (table.address(row, "address").unwrap().port().into(), table.value(row, "requests").unwrap());
        table.rows.iter().map(row).collect()
    }

    #[test]
    fn those_that_asked_last_have_a_row_each_which_is_written_when_something_has_changed() {
        let place = Place::new("clients");
        let mut description = Description::new("publisher");
        let clients = ClientRows::describe(&mut description);
        let file = place.file(description);
        let mut clients = clients(&file);
        let mut reports: Vec<_> = (0..=70).map(|number| report(number, 1)).collect();
        (1..=70).for_each(|number| clients.note_request(Nanos(number), client(number)));
        let write = |clients: &mut ClientRows, reports: &[ClientReport]| {
            clients.write(|client| reports.iter().find(|report| report.address == client));
        };
        write(&mut clients, &reports);
        let mut expected: Vec<_> = (65..=70).chain(7..=64).map(|number| (number, 1)).collect();
        assert_eq!(rows(&place), expected);
        // One asks again, another one was answered; the rows of the others are left alone.
        clients.note_request(Nanos(71), client(7));
        reports[7].counters.requests = 2;
        reports[70].counters.requests = 3;
        write(&mut clients, &reports);
        expected.retain(|(number, _)| ![7, 70].contains(number));
        expected.extend([(70, 3), (7, 2)]);
        assert_eq!(rows(&place), expected);
        // One is forgotten, and a stranger has asked of whom nothing is kept.
        clients.note_request(Nanos(72), client(99));
        reports.remove(7);
        write(&mut clients, &reports);
        expected.retain(|(number, _)| ![7, 8].contains(number));
        assert_eq!(rows(&place), expected);
    }

    #[test]
    fn each_reason_has_a_field_of_its_own() {
        let place = Place::new("reasons");
        let mut description = Description::new("publisher");
        let clients = ClientRows::describe(&mut description);
        let file = place.file(description);
        let mut clients = clients(&file);
        clients.note_request(Nanos(1), client(1));
        let asked = report(1, 45);
        clients.write(|client| (client == asked.address).then_some(&asked));
        let snapshot = place.snapshot();
        let table = snapshot.table("clients").unwrap();
        let field = |refusal: Refusal| table.value(&table.rows[0], &format!("refused_{}", refusal.name())).unwrap();
        assert_eq!(Refusal::ALL.map(field), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
