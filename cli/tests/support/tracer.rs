//! A test that runs again in a process of its own, where one thread is traced: step by step, or from system call to system
//! call (`ptrace`). Nothing needs to be installed.
//!
//! Such a test begins with `if let Some(place) = tracer::place() { … }`: what the child does. It calls [`begin`] on the
//! thread that is to be traced, and [`mark`] wherever the tracer shall stop.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(unsafe_code, reason = "the standard library does not trace")]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Tells the child where its files are.
const PLACE: &str = "SEQCAST_TRACED";

/// The child's exit code where tracing is not allowed.
const REFUSED: i32 = 77;

/// The directory that the parent named; `None` in the parent.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// Has this thread traced by the parent, from here on.
pub(crate) fn begin() {
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: PTRACE_TRACEME takes no address and no data.
    if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) } != 0 {
        std::process::exit(REFUSED);
    }
    mark();
}

/// Stops this thread, which is traced, until the parent lets it go on.
pub(crate) fn mark() {
    // SAFETY: it takes a plain number; the signal stops this thread, and the tracer keeps it back.
    assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0);
}

/// Where a traced thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Behind one more instruction, or at one end of a system call.
    Trap,
    Mark,
    Ended,
}

/// How many system calls there were, by number.
pub(crate) type SystemCalls = BTreeMap<i64, u64>;

/// The child; it is killed when this is dropped.
pub(crate) struct Traced {
    child: Child,
    thread: libc::pid_t,
}

impl Traced {
    /// Runs `test`, one of this test file, in a child whose files are in `place`, up to where it begins to be traced; `None`
    /// where that is not allowed.
    pub(crate) fn start(test: &str, place: &Path) -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(PLACE, place).stdin(Stdio::null()).stdout(Stdio::null());
        let mut traced = Self { child: command.spawn().unwrap(), thread: -1 };
        let (thread, status) = traced.wait();
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), REFUSED, "{test} ended before it began");
            return None;
        }
        assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP, "{status:#x}");
        traced.thread = thread;
        traced.request(libc::PTRACE_SETOPTIONS, 0, (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD) as usize);
        Some(traced)
    }

    /// Goes on to the next mark, and asserts that there is one.
    pub(crate) fn go_to_mark(&mut self) {
        assert_eq!(self.go(libc::PTRACE_CONT), Stop::Mark);
    }

    /// Executes one instruction; returns whether it was one, and not the end of a mark.
    pub(crate) fn step(&mut self) -> bool {
        match self.go(libc::PTRACE_SINGLESTEP) {
            Stop::Trap => true,
            Stop::Mark => false,
            Stop::Ended => panic!("the child ended within what was traced"),
        }
    }

    /// Goes on to the next mark, and counts the system calls on the way: without the last, which marks.
    pub(crate) fn count_to_mark(&mut self) -> SystemCalls {
        let mut calls = SystemCalls::new();
        loop {
            match self.go(libc::PTRACE_SYSCALL) {
                Stop::Trap => {
                    if let Some(number) = self.entered() {
                        *calls.entry(number).or_default() += 1;
                    }
                }
                Stop::Mark => return calls,
                Stop::Ended => panic!("the child ended within what was counted"),
            }
        }
    }

    /// The system call that the thread is about to enter; `None` when it returns from one.
    fn entered(&self) -> Option<i64> {
        // SAFETY: all zeros are a valid value of a struct of numbers.
        let mut info: libc::ptrace_syscall_info = unsafe { mem::zeroed() };
        self.request(libc::PTRACE_GET_SYSCALL_INFO, size_of_val(&info), (&raw mut info).addr());
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: the kernel has filled in this member of the union.
        let entry = unsafe { info.u.entry };
        Some(entry.nr as i64)
    }

    /// Kills the child where it stands, and waits for its end.
    pub(crate) fn kill(self) {}

    /// Lets the child run to its end, and asserts that its test passed.
    pub(crate) fn finish(mut self) {
        while self.go(libc::PTRACE_CONT) != Stop::Ended {}
        assert!(self.child.wait().unwrap().success(), "the child failed");
    }

    fn go(&mut self, request: libc::c_uint) -> Stop {
        let mut signal = 0;
        loop {
            self.request(request, 0, signal as usize);
            let (thread, status) = self.wait();
            if thread != self.thread || !libc::WIFSTOPPED(status) {
                return Stop::Ended;
            }
            match libc::WSTOPSIG(status) {
                libc::SIGSTOP => return Stop::Mark,
                stop if stop & !0x80 == libc::SIGTRAP => return Stop::Trap,
                // Any other signal is the child's own.
                stop => signal = stop,
            }
        }
    }

    /// Waits for a child or a traced thread of this thread, of which there is one.
    fn wait(&self) -> (libc::pid_t, libc::c_int) {
        let mut status = 0;
        // SAFETY: the kernel writes one number to where the pointer leads.
        let thread = unsafe { libc::waitpid(self.thread, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(thread > 0, "{}", std::io::Error::last_os_error());
        (thread, status)
    }

    fn request(&self, request: libc::c_uint, address: usize, data: usize) {
        // SAFETY: the thread is traced and stopped; what an address leads to, if it is one, outlives the call.
        let done = unsafe { libc::ptrace(request, self.thread, address, data) };
        assert!(done >= 0, "request {request}: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended already. Whoever traces a thread has to wait for it before its process is seen to end.
        let _ = self.child.kill();
        if self.thread > 0 {
            // SAFETY: as in `wait`; that there is no such thread any more is an error that nobody misses.
            unsafe { libc::waitpid(self.thread, std::ptr::null_mut(), libc::__WALL | libc::__WNOTHREAD) };
        }
        let _ = self.child.wait();
    }
}
