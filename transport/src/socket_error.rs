//! Why a socket could not be opened, and what would mend it.

use std::error::Error;
use std::fmt;
use std::io;

/// Steps whose refusal has causes of its own.
pub(crate) const CONNECT: &str = "connect";
pub(crate) const SET_TTL: &str = "set IP_TTL";

/// A step of opening a socket that the kernel refused.
///
/// The text names the setting, the operation and, where one is known, the mend; the kernel's reason is the
/// [`source`](Error::source).
#[derive(Debug)]
pub struct SocketError {
    operation: &'static str,
    setting: String,
    source: io::Error,
}

impl SocketError {
    pub(crate) fn new(operation: &'static str, setting: &impl ToString, source: io::Error) -> Self {
        Self { operation, setting: setting.to_string(), source }
    }

    /// The step that failed, such as `bind`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The address that the socket was to have.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The kernel's reason.
    #[must_use]
    pub const fn io_error(&self) -> &io::Error {
        &self.source
    }

    /// What would mend it, for the reasons that have a usual cause.
    #[must_use]
    pub fn mend(&self) -> Option<&'static str> {
        Some(match self.source.raw_os_error()? {
            libc::EADDRINUSE => {
                "another socket holds this address and port; choose another port, or end its owner \
                 (`ss --udp --listening --numeric --processes` names it)"
            }
            libc::EACCES if self.operation == CONNECT => {
                "it is the broadcast address of a network, or a rule prohibits the way (`ip route get ADDRESS`); name \
                 one host"
            }
            libc::EINVAL if self.operation == CONNECT => {
                "loopback leads to no other host; name an interface that does (`ip route get ADDRESS` tells)"
            }
            libc::EINVAL if self.operation == SET_TTL => {
                "a unicast datagram crosses at least one network; set 1 or more"
            }
            libc::EACCES | libc::EPERM => {
                "permission is missing; ports below 1024 need root or CAP_NET_BIND_SERVICE, and a firewall may refuse \
                 the rest"
            }
            libc::ENODEV => "there is no such interface any more (`ip link` lists those there are)",
            libc::EADDRNOTAVAIL => "no interface of this host has the address (`ip -4 address` lists those there are)",
            libc::ENETUNREACH => "no route leads there (`ip route get ADDRESS` asks the kernel)",
            libc::ENOBUFS => {
                "the socket may join no more groups; raise the limit: `sysctl -w net.ipv4.igmp_max_memberships=N`"
            }
            libc::EMFILE => "the process has too many open files; raise `ulimit -n`",
            _ => return None,
        })
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: cannot {}", self.setting, self.operation)?;
        self.mend().map_or(Ok(()), |mend| write!(out, ": {mend}"))
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_setting_operation_and_mend_and_keeps_the_source() {
        let error = SocketError::new("bind", &"127.0.0.1:9", io::Error::from_raw_os_error(libc::EADDRINUSE));
        assert!(error.to_string().starts_with("127.0.0.1:9: cannot bind: another socket holds this address and port"));
        assert!(error.source().unwrap().to_string().contains("os error 98"));
    }

    #[test]
    fn reason_without_a_usual_cause_has_no_mend() {
        let error = SocketError::new("bind", &"127.0.0.1:9", io::Error::from_raw_os_error(libc::EIO));
        assert_eq!(error.to_string(), "127.0.0.1:9: cannot bind");
    }
}
