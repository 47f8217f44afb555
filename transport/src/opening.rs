//! The steps that every socket goes through while it is opened.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::buffer::{Buffer, BufferGrant};
use crate::socket_error::SocketError;
use crate::sys;

/// A socket being opened, with the setting that its errors name.
pub(crate) struct Opening {
    pub(crate) socket: Socket,
    setting: String,
}

impl Opening {
    /// Makes a non-blocking UDP socket that lets no datagram be fragmented by IP: one that is larger than the path
    /// carries is refused with `EMSGSIZE`.
    pub(crate) fn new(setting: &impl ToString) -> Result<Self, SocketError> {
        let setting = setting.to_string();
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))
            .map_err(|source| SocketError::new("open a UDP socket", &setting, source))?;
        let opening = Self { socket, setting };
        opening.confirm("set IP_MTU_DISCOVER", |socket| {
            let fd = socket.as_raw_fd();
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
            let found = sys::option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)?;
            Ok((libc::IP_PMTUDISC_DO, found))
        })?;
        Ok(opening)
    }

    /// Performs one step.
    pub(crate) fn step<T>(
        &self,
        operation: &'static str,
        step: impl FnOnce(&Socket) -> io::Result<T>,
    ) -> Result<T, SocketError> {
        step(&self.socket).map_err(|source| SocketError::new(operation, &self.setting, source))
    }

    /// Performs a step that sets an option and reads it back: what was set and what was found must be the same.
    pub(crate) fn confirm<T: PartialEq + std::fmt::Debug>(
        &self,
        operation: &'static str,
        step: impl FnOnce(&Socket) -> io::Result<(T, T)>,
    ) -> Result<(), SocketError> {
        self.step(operation, |socket| {
            let (set, found) = step(socket)?;
            if set == found {
                return Ok(());
            }
            let text = format!("the kernel accepted {set:?} and kept {found:?}");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        })
    }

    /// Binds the socket.
    pub(crate) fn bind(&self, address: SocketAddrV4) -> Result<(), SocketError> {
        self.step("bind", |socket| socket.bind(&address.into()))
    }

    /// Asks for a buffer.
    pub(crate) fn grant(&self, buffer: Buffer, asked_bytes: Option<usize>) -> Result<BufferGrant, SocketError> {
        let operation = match buffer {
            Buffer::Receive => "size the receive buffer",
            Buffer::Send => "size the send buffer",
        };
        self.step(operation, |socket| buffer.grant(socket.as_raw_fd(), asked_bytes))
    }
}

/// Sorts a receive's outcome: nothing there is `None`, an interrupted call is made again.
pub(crate) fn received<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match receive() {
            Ok(received) => return Ok(Some(received)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}
