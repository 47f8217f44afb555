//! Aeron's media driver and its client behind safe calls. Neither has threads here: whoever has them does their work.
//!
//! The C interface is called as it is: nothing is added to what a message costs.

use rusteron_client::bindings as client;
use rusteron_media_driver::bindings as driver;
use std::ffi::{CStr, CString, c_int, c_ulong, c_ulonglong};
use std::path::PathBuf;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// Socket buffers: as large as a subscriber of seqcast asks for.
pub(crate) const BUFFER_BYTES: usize = 4 << 20;

/// The window that a receiver grants: Aeron's own 128 KiB stop the sender at the speed of loopback. Half of the buffer, because
/// the kernel counts more for a datagram than its bytes.
pub(crate) const WINDOW_BYTES: usize = BUFFER_BYTES / 2;

/// A third of what a stream has in shared memory. Aeron's own; for IPC a quarter of it, like the rest.
pub(crate) const TERM_BYTES: usize = 16 << 20;

/// What Aeron puts before each message, and the multiple that it fills messages up to.
pub(crate) const HEADER_BYTES: usize = 32;

/// How many datagrams a duty cycle hands to one sendmmsg, and takes with one recvmmsg. Four times Aeron's own.
pub(crate) const DATAGRAMS_PER_CALL: u32 = 16;

/// Nobody counts as gone before this: a side rests while other systems are measured.
const LIVENESS_NS: u64 = 60_000_000_000;

/// When a receiver asks for what it misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naks {
    /// As Aeron has it: after a random time up to 10 ms, as if there were ten receivers.
    Default,
    /// After a random time up to 200 us, as if there were one.
    Tuned,
}

/// What a driver is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The longest datagram, `64..=65504`, a multiple of 32.
    pub(crate) mtu_bytes: usize,
    /// When its receivers ask.
    pub(crate) naks: Naks,
    /// Whether what arrives goes through the generator of loss, which [`lose`] sets.
    pub(crate) loses: bool,
}

/// A media driver of this process.
#[derive(Debug)]
pub(crate) struct Driver {
    // Closed in this order.
    driver: RawDriver,
    _context: RawDriverContext,
    directory: Directory,
}

// SAFETY: a driver that is invoked has no thread, and nothing of a thread's besides the text of its last error; every call
// that changes it takes `&mut self`.
unsafe impl Send for Driver {}

impl Driver {
    /// Opens one in a directory of its own in shared memory.
    pub(crate) fn open(settings: Settings) -> Result<Self, String> {
        let directory = Directory::unused();
        let path = directory.text()?;
        let context = RawDriverContext(created(|context| {
            // SAFETY: it writes where it is told to.
            unsafe { driver::aeron_driver_context_init(context) }
        })?);
        let raw = context.0.as_ptr();
        // SAFETY: the context is initialised and no driver has it yet; texts are copied.
        all(unsafe {
            [
                driver::aeron_driver_context_set_dir(raw, path.as_ptr()),
                driver::aeron_driver_context_set_dir_delete_on_shutdown(raw, true),
                driver::aeron_driver_context_set_threading_mode(
                    raw,
                    driver::aeron_threading_mode_t::AERON_THREADING_MODE_INVOKER,
                ),
                driver::aeron_driver_context_set_mtu_length(raw, settings.mtu_bytes),
                driver::aeron_driver_context_set_ipc_mtu_length(raw, settings.mtu_bytes),
                driver::aeron_driver_context_set_socket_so_rcvbuf(raw, BUFFER_BYTES),
                driver::aeron_driver_context_set_socket_so_sndbuf(raw, BUFFER_BYTES),
                driver::aeron_driver_context_set_rcv_initial_window_length(raw, WINDOW_BYTES),
                driver::aeron_driver_context_set_term_buffer_length(raw, TERM_BYTES),
                driver::aeron_driver_context_set_ipc_term_buffer_length(raw, TERM_BYTES),
                driver::aeron_driver_context_set_term_buffer_sparse_file(raw, false),
                driver::aeron_driver_context_set_receiver_io_vector_capacity(raw, DATAGRAMS_PER_CALL),
                driver::aeron_driver_context_set_sender_io_vector_capacity(raw, DATAGRAMS_PER_CALL),
                driver::aeron_driver_context_set_network_publication_max_messages_per_send(raw, DATAGRAMS_PER_CALL),
                driver::aeron_driver_context_set_client_liveness_timeout_ns(raw, LIVENESS_NS),
                driver::aeron_driver_context_set_image_liveness_timeout_ns(raw, LIVENESS_NS),
                driver::aeron_driver_context_set_publication_connection_timeout_ns(raw, LIVENESS_NS),
                driver::aeron_driver_context_set_publication_unblock_timeout_ns(raw, 2 * LIVENESS_NS),
            ]
        })?;
        if settings.naks == Naks::Tuned {
            // SAFETY: as above.
            all(unsafe {
                [
                    driver::aeron_driver_context_set_nak_multicast_max_backoff_ns(raw, 200_000),
                    driver::aeron_driver_context_set_nak_multicast_group_size(raw, 1),
                ]
            })?;
        }
        if settings.loses {
            // SAFETY: the name is one that Aeron knows, and nothing comes before it.
            let loss =
                unsafe { driver::aeron_udp_channel_interceptor_bindings_load(ptr::null_mut(), c"loss".as_ptr()) };
            // SAFETY: as above; Aeron keeps what it loaded.
            all(unsafe { [driver::aeron_driver_context_set_udp_channel_incoming_interceptors(raw, loss)] })?;
        }
        let driver = RawDriver(created(|driver| {
            // SAFETY: it writes where it is told to; the context is this driver's alone and outlives it.
            unsafe { driver::aeron_driver_init(driver, raw) }
        })?);
        let driver = Self { driver, _context: context, directory };
        // SAFETY: the driver is initialised; its work is done by who has it.
        checked(unsafe { driver::aeron_driver_start(driver.driver.0.as_ptr(), true) })?;
        Ok(driver)
    }

    /// Does a duty cycle: sends, receives, and keeps the books.
    #[inline]
    pub(crate) fn work(&mut self) -> Result<(), String> {
        // SAFETY: the driver is started, and nobody else is at it.
        checked(unsafe { driver::aeron_driver_main_do_work(self.driver.0.as_ptr()) }).map(drop)
    }

    /// Opens a client.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let path = self.directory.text()?;
        let context = RawClientContext(created(|context| {
            // SAFETY: it writes where it is told to.
            unsafe { client::aeron_context_init(context) }
        })?);
        let raw = context.0.as_ptr();
        // SAFETY: the context is initialised and no client has it yet; texts are copied.
        all(unsafe {
            [
                client::aeron_context_set_dir(raw, path.as_ptr()),
                client::aeron_context_set_use_conductor_agent_invoker(raw, true),
                client::aeron_context_set_driver_timeout_ms(raw, LIVENESS_NS / 1_000_000),
                client::aeron_context_set_pre_touch_mapped_memory(raw, true),
            ]
        })?;
        let client = RawClient(created(|client| {
            // SAFETY: it writes where it is told to; the context is this client's alone and outlives it.
            unsafe { client::aeron_init(client, raw) }
        })?);
        let client = Client { client, _context: context };
        // SAFETY: the client is initialised.
        checked(unsafe { client::aeron_start(client.client.0.as_ptr()) })?;
        Ok(client)
    }
}

/// A client of a driver. What is added to it is closed with it.
#[derive(Debug)]
pub(crate) struct Client {
    // Closed in this order.
    client: RawClient,
    _context: RawClientContext,
}

// SAFETY: a client whose conductor is invoked has no thread, and nothing of a thread's besides the text of its last error;
// every call takes `&mut self`.
unsafe impl Send for Client {}

impl Client {
    /// Does a duty cycle: tells the driver that it lives, and hears what has changed.
    #[inline]
    pub(crate) fn work(&mut self) -> Result<(), String> {
        // SAFETY: the client is started, and nobody else is at it.
        checked(unsafe { client::aeron_main_do_work(self.client.0.as_ptr()) }).map(drop)
    }

    /// How often its driver has asked for something again: a counter that is mapped as long as the client lives.
    pub(crate) fn naks_sent(&mut self) -> Result<NonNull<i64>, String> {
        let id = client::AERON_SYSTEM_COUNTER_ID_NAK_MESSAGES_SENT as i32;
        // SAFETY: the client is started; every driver has this counter.
        let counter = unsafe { client::aeron_counters_reader_addr(client::aeron_counters_reader(self.raw()), id) };
        NonNull::new(counter).ok_or_else(last_error)
    }

    /// The client itself, for what is added to it.
    pub(crate) fn raw(&mut self) -> *mut client::aeron_t {
        self.client.0.as_ptr()
    }
}

/// Closes what it has when it is dropped.
macro_rules! owned {
    ($name:ident, $type:ty, $close:path) => {
        #[derive(Debug)]
        struct $name(NonNull<$type>);

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: it was made by its counterpart, nobody else has it, and what it needs still lives.
                unsafe { $close(self.0.as_ptr()) };
            }
        }
    };
}

owned!(RawDriverContext, driver::aeron_driver_context_t, driver::aeron_driver_context_close);
owned!(RawDriver, driver::aeron_driver_t, driver::aeron_driver_close);
owned!(RawClientContext, client::aeron_context_t, client::aeron_context_close);
owned!(RawClient, client::aeron_t, client::aeron_close);

/// A directory that is removed with everything in it.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    /// A name that nothing has, in memory.
    fn unused() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/dev/shm/seqcast-peers-{}-{count}", std::process::id()).into())
    }

    fn text(&self) -> Result<CString, String> {
        CString::new(self.0.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Aeron has removed it unless something failed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sets the share of datagrams that is lost where a driver was opened to lose some: those with messages, first sent or sent
/// again. There is one generator in a process.
pub(crate) fn lose(share: f64, seed: u64) {
    /// `aeron_udp_channel_interceptor_loss_params_t`, which the bindings leave out.
    #[repr(C)]
    struct Loss {
        rate: f64,
        /// A bit for each type of frame.
        types: c_ulong,
        seed: c_ulonglong,
    }
    unsafe extern "C" {
        fn aeron_udp_channel_interceptor_loss_configure(loss: *const Loss) -> c_int;
    }
    /// AERON_HDR_TYPE_PAD and AERON_HDR_TYPE_DATA: what a datagram of messages begins with.
    const MESSAGES: c_ulong = 1 << 0 | 1 << 1;
    let loss = Loss { rate: share, types: MESSAGES, seed };
    // SAFETY: it copies the parameters; the receiver that uses them does not work meanwhile.
    unsafe { aeron_udp_channel_interceptor_loss_configure(&raw const loss) };
}

/// The version of Aeron.
pub(crate) fn version() -> String {
    // SAFETY: a text that lives as long as the process.
    unsafe { CStr::from_ptr(client::aeron_version_text()) }.to_string_lossy().into_owned()
}

/// What a function has made that returns a code and writes a pointer.
pub(crate) fn created<T>(create: impl FnOnce(*mut *mut T) -> c_int) -> Result<NonNull<T>, String> {
    let mut made = ptr::null_mut();
    checked(create(&raw mut made))?;
    NonNull::new(made).ok_or_else(|| "Aeron made nothing".to_owned())
}

/// What a function has returned, if it was no failure.
#[inline]
pub(crate) fn checked(code: c_int) -> Result<c_int, String> {
    if code < 0 { Err(last_error()) } else { Ok(code) }
}

fn all<const N: usize>(codes: [c_int; N]) -> Result<(), String> {
    codes.into_iter().try_for_each(|code| checked(code).map(drop))
}

/// What the last failure on this thread was.
#[cold]
pub(crate) fn last_error() -> String {
    // SAFETY: a text of this thread, which is copied.
    unsafe { CStr::from_ptr(client::aeron_errmsg()) }.to_string_lossy().into_owned()
}
