//! What the kernel says of the UDP sockets of a process: `/proc/PROCESS/net/udp`.

use std::collections::HashMap;
use std::{fs, io};

/// What waits in a socket's receive queue, and what did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// As the kernel counts them: with its own bookkeeping, against twice the receive buffer.
    pub(super) bytes: u64,
    pub(super) drops: u64,
}

/// Where it is said.
pub(super) fn path(process: u32) -> String {
    format!("/proc/{process}/net/udp")
}

/// The queues of all sockets that the process can have, by inode.
pub(super) fn queues(process: u32) -> io::Result<HashMap<u64, Queue>> {
    Ok(fs::read_to_string(path(process))?.lines().filter_map(parse).collect())
}

/// Reads a line: `sl local remote st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops`.
fn parse(line: &str) -> Option<(u64, Queue)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, received) = fields.get(4)?.split_once(':')?;
    let bytes = u64::from_str_radix(received, 16).ok()?;
    Some((fields.get(9)?.parse().ok()?, Queue { bytes, drops: fields.get(12)?.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read_and_other_lines_are_not() {
        let header = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
        let line = " 1234: 0100007F:7531 00000000:0000 07 00000000:0003F480 00:00000000 00000000     0        0 81234 2 0000000000000000 17";
        assert_eq!(parse(header), None);
        assert_eq!(parse(line), Some((81_234, Queue { bytes: 259_200, drops: 17 })));
        assert_eq!(parse(&line[..line.len() - 3]), None, "what is cut off");
    }
}
