//! A terminal that a test holds the other end of.

#![allow(dead_code, reason = "each test uses its part")]

use seqcast_recovery::Nanos;
use seqcast_transport::{Clock, wait_readable};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::{Child, Command, ExitStatus};

/// The longest that anything is waited for: ten times what it takes on a busy machine.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// A terminal of 80 columns and 24 rows, and the process in it, which is killed when it is dropped.
pub(crate) struct Pty {
    master: File,
    slave: File,
    before: Vec<u32>,
    child: Child,
    /// All that was written to it.
    pub(crate) output: String,
}

impl Pty {
    /// Starts a command whose standard input and output is the terminal.
    #[expect(unsafe_code, reason = "the standard library opens no terminals")]
    pub(crate) fn start(mut command: Command) -> Self {
        let (mut master, mut slave) = (-1, -1);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let nothing = std::ptr::null_mut();
        // SAFETY: both descriptors and the size are valid for the call; a name and settings are not asked for.
        let opened =
            unsafe { libc::openpty(&raw mut master, &raw mut slave, nothing, std::ptr::null(), &raw const size) };
        assert_eq!(opened, 0);
        // SAFETY: the descriptor was just opened and nobody else has it.
        let master = unsafe { File::from_raw_fd(master) };
        // SAFETY: as above.
        let slave = unsafe { File::from_raw_fd(slave) };
        let before = settings(&slave);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).env("TERM", "xterm-256color");
        Self { master, before, child: command.spawn().unwrap(), slave, output: String::new() }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `words` come, from now on.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        let (from, end) = (self.output.len(), Clock::now() + PATIENCE);
        while !self.output[from..].contains(words) {
            assert!(Clock::now() < end, "waited in vain for {words:?}: {:?}", &self.output[from..]);
            self.read();
        }
    }

    /// Waits for the end of the process, and asserts that the terminal is as it was before.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let end = Clock::now() + PATIENCE;
        let status = loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Clock::now() < end, "it does not end: {:?}", self.output);
        };
        while self.read() {}
        let output = std::mem::take(&mut self.output);
        assert_eq!(settings(&self.slave), self.before, "cooked again");
        for (taken, given) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?7l", "\x1b[?7h")] {
            let [taken, given] = [taken, given].map(|sequence| output.rfind(sequence));
            assert!(taken.is_some() && taken < given, "{taken:?} {given:?} {output:?}");
        }
        (status, output)
    }

    /// Whether something came in a short time.
    fn read(&mut self) -> bool {
        let is_there = wait_readable(&[self.master.as_raw_fd()], Some(Nanos::from_millis(20))).unwrap();
        if is_there {
            let mut bytes = [0; 65_536];
            let length = self.master.read(&mut bytes).unwrap();
            self.output += &String::from_utf8_lossy(&bytes[..length]);
        }
        is_there
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal does with input and output (termios(3)).
#[expect(unsafe_code, reason = "the standard library knows no terminals")]
fn settings(terminal: &File) -> Vec<u32> {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: there is room for the settings.
    assert_eq!(unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) }, 0);
    // SAFETY: they were written, as the call did not fail.
    let settings = unsafe { settings.assume_init() };
    vec![settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag]
}
