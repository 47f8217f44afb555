//! Aeron's streams: a publication and a subscription, each with the side that it belongs to.

use crate::media::{Client, Driver, checked, created, last_error};
use rusteron_client::bindings as client;
use seqcast_recovery::Nanos;
use seqcast_transport::Clock;
use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many messages one poll hands over. Arbitrary.
const MESSAGES_PER_POLL: usize = 1_024;

/// Opening anything takes some milliseconds.
const PATIENCE: Nanos = Nanos::from_secs(10);

/// What is driven by one thread: a client, and the driver unless another side has it.
#[derive(Debug)]
pub(crate) struct Side {
    // Closed in this order.
    client: Client,
    driver: Option<Driver>,
    /// Its driver has work once in so many cycles.
    rests: u32,
    cycles: u32,
}

/// A side that a publication and a subscription have together. They are on one thread, so that nobody ever waits for it.
pub(crate) type Shared = Arc<Mutex<Side>>;

impl Side {
    /// A client of `driver`, and the driver.
    pub(crate) fn new(driver: Driver, rests: u32) -> Result<Self, String> {
        Ok(Self { client: driver.client()?, driver: Some(driver), rests, cycles: 0 })
    }

    /// Does what is to do now. A client has little: it has its turn once in 64 cycles.
    #[inline]
    pub(crate) fn work(&mut self) -> Result<(), String> {
        self.cycles = self.cycles.wrapping_add(1);
        if self.cycles.is_multiple_of(64) {
            self.client.work()?;
        }
        match &mut self.driver {
            Some(driver) if self.cycles.is_multiple_of(self.rests) => driver.work(),
            _ => Ok(()),
        }
    }

    /// Does everything.
    pub(crate) fn work_thoroughly(&mut self) -> Result<(), String> {
        self.client.work()?;
        self.driver.as_mut().map_or(Ok(()), Driver::work)
    }
}

/// A side with another client of the driver of `side`.
pub(crate) fn another(side: &Shared) -> Result<Side, String> {
    let side = locked(side);
    let driver = side.driver.as_ref().ok_or("the driver belongs to another side")?;
    Ok(Side { client: driver.client()?, driver: None, rests: side.rests, cycles: 0 })
}

/// Opens a stream from one side to others; returns when they hear it. The sides do their work here until then.
pub(crate) fn open(
    from: &Shared,
    to: &[Shared],
    channel: &CStr,
    stream: i32,
) -> Result<(Publication, Vec<Subscription>), String> {
    let sides = || std::iter::once(from).chain(to);
    let subscriptions = to.iter().map(|side| {
        let mut adding = AddingSubscription::begin(side, channel, stream)?;
        until(&sides(), || adding.poll())
    });
    let subscriptions = subscriptions.collect::<Result<Vec<_>, _>>()?;
    let mut adding = AddingPublication::begin(from, channel, stream)?;
    let publication = until(&sides(), || adding.poll())?;
    until(&sides(), || {
        let is_heard = publication.is_connected() && subscriptions.iter().all(Subscription::is_connected);
        Ok(is_heard.then_some(()))
    })?;
    Ok((publication, subscriptions))
}

/// Lets the sides work until there is something.
fn until<'s, T>(
    sides: &(impl Iterator<Item = &'s Shared> + Clone),
    mut poll: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let deadline = Clock::now() + PATIENCE;
    loop {
        for side in sides.clone() {
            locked(side).work_thoroughly()?;
        }
        if let Some(made) = poll()? {
            return Ok(made);
        }
        if Clock::now() > deadline {
            return Err("Aeron has opened nothing in 10 s".to_owned());
        }
    }
}

fn locked(side: &Shared) -> MutexGuard<'_, Side> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a side work, unless another thread is at it.
#[inline]
pub(crate) fn work(side: &Shared) -> Result<(), String> {
    side.try_lock().map_or(Ok(()), |mut side| side.work())
}

struct AddingPublication<'s> {
    side: &'s Shared,
    adding: NonNull<client::aeron_async_add_exclusive_publication_t>,
}

impl<'s> AddingPublication<'s> {
    fn begin(side: &'s Shared, channel: &CStr, stream: i32) -> Result<Self, String> {
        let (aeron, channel) = (locked(side).client.raw(), channel.as_ptr());
        // SAFETY: it writes where it is told to; the client is started, the text is copied.
        let adding =
            created(|adding| unsafe { client::aeron_async_add_exclusive_publication(adding, aeron, channel, stream) })?;
        Ok(Self { side, adding })
    }

    /// Whether it is there by now; not to be asked again then.
    fn poll(&mut self) -> Result<Option<Publication>, String> {
        let mut raw = ptr::null_mut();
        // SAFETY: the request is pending, since nobody asks after it succeeded or failed.
        checked(unsafe { client::aeron_async_add_exclusive_publication_poll(&raw mut raw, self.adding.as_ptr()) })?;
        Ok(NonNull::new(raw).map(|raw| Publication { raw, side: Arc::clone(self.side) }))
    }
}

/// The writing end of a stream.
#[derive(Debug)]
pub(crate) struct Publication {
    raw: NonNull<client::aeron_exclusive_publication_t>,
    pub(crate) side: Shared,
}

// SAFETY: it lives as long as its client, which `side` keeps; it may be written by one thread while the client's conductor
// works on another.
unsafe impl Send for Publication {}

impl Publication {
    /// Takes a message: returns how long the stream is then, in bytes, or nothing if there is no room now.
    #[inline]
    pub(crate) fn offer(&mut self, message: &[u8]) -> Result<Option<u64>, String> {
        const NO_ROOM: i64 = client::AERON_PUBLICATION_BACK_PRESSURED as i64;
        const NEXT_TERM: i64 = client::AERON_PUBLICATION_ADMIN_ACTION as i64;
        let (bytes, length) = (message.as_ptr(), message.len());
        // SAFETY: `raw` lives, as said above, and `&mut self` makes this its only writer; the message is copied.
        let position = unsafe {
            client::aeron_exclusive_publication_offer(self.raw.as_ptr(), bytes, length, None, ptr::null_mut())
        };
        match position {
            0.. => Ok(Some(position.unsigned_abs())),
            NO_ROOM | NEXT_TERM => Ok(None),
            _ => Err(format!("an offer returned {position}: {}", last_error())),
        }
    }

    fn is_connected(&self) -> bool {
        // SAFETY: `raw` lives, as said above.
        unsafe { client::aeron_exclusive_publication_is_connected(self.raw.as_ptr()) }
    }
}

struct AddingSubscription<'s> {
    side: &'s Shared,
    adding: NonNull<client::aeron_async_add_subscription_t>,
}

impl<'s> AddingSubscription<'s> {
    fn begin(side: &'s Shared, channel: &CStr, stream: i32) -> Result<Self, String> {
        let (aeron, channel, none) = (locked(side).client.raw(), channel.as_ptr(), ptr::null_mut());
        // SAFETY: it writes where it is told to; the client is started, the text is copied, there are no handlers.
        let adding = created(|adding| unsafe {
            client::aeron_async_add_subscription(adding, aeron, channel, stream, None, none, None, none)
        })?;
        Ok(Self { side, adding })
    }

    /// Whether it is there by now; not to be asked again then.
    fn poll(&mut self) -> Result<Option<Subscription>, String> {
        let mut raw = ptr::null_mut();
        // SAFETY: the request is pending, since nobody asks after it succeeded or failed.
        checked(unsafe { client::aeron_async_add_subscription_poll(&raw mut raw, self.adding.as_ptr()) })?;
        let Some(raw) = NonNull::new(raw) else { return Ok(None) };
        let naks_sent = locked(self.side).client.naks_sent()?;
        Ok(Some(Subscription { raw, naks_sent, next: 1, side: Arc::clone(self.side) }))
    }
}

/// The reading end of a stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    raw: NonNull<client::aeron_subscription_t>,
    naks_sent: NonNull<i64>,
    /// Aeron's messages have no numbers: they are counted.
    next: u64,
    pub(crate) side: Shared,
}

// SAFETY: as for a publication; the counter is mapped as long as the client lives.
unsafe impl Send for Subscription {}

impl Subscription {
    /// Hands over what the driver has received.
    #[inline]
    pub(crate) fn poll(&mut self, on_message: &mut impl FnMut(u64, &[u8])) -> Result<usize, String> {
        let mut handler = Handler { on_message, next: &mut self.next };
        let (function, given) = (handler.function(), (&raw mut handler).cast());
        // SAFETY: `raw` lives, as said above, and `&mut self` makes this its only reader; the function gets the handler that it
        // expects, which outlives the call.
        let count =
            unsafe { client::aeron_subscription_poll(self.raw.as_ptr(), Some(function), given, MESSAGES_PER_POLL) };
        checked(count).map(|count| count.unsigned_abs() as usize)
    }

    /// How often its driver has asked for something again.
    pub(crate) fn naks_sent(&self) -> u64 {
        // SAFETY: it is mapped, as said above, and aligned; the driver may write it meanwhile.
        unsafe { self.naks_sent.as_ptr().read_volatile() }.unsigned_abs()
    }

    fn is_connected(&self) -> bool {
        // SAFETY: `raw` lives, as said above.
        unsafe { client::aeron_subscription_is_connected(self.raw.as_ptr()) }
    }
}

struct Handler<'a, F> {
    on_message: &'a mut F,
    next: &'a mut u64,
}

type HandlerFunction = unsafe extern "C-unwind" fn(*mut c_void, *const u8, usize, *mut client::aeron_header_t);

impl<F: FnMut(u64, &[u8])> Handler<'_, F> {
    /// What Aeron calls with it.
    fn function(&self) -> HandlerFunction {
        Self::handle
    }

    unsafe extern "C-unwind" fn handle(
        handler: *mut c_void,
        bytes: *const u8,
        length: usize,
        _: *mut client::aeron_header_t,
    ) {
        // SAFETY: it is a handler of this type, which nobody else uses during the call.
        let handler = unsafe { &mut *handler.cast::<Self>() };
        // SAFETY: Aeron hands over a message that stays until the function returns.
        let message = unsafe { std::slice::from_raw_parts(bytes, length) };
        (handler.on_message)(*handler.next, message);
        *handler.next += 1;
    }
}
