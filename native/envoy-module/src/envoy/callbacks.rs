//! What Envoy does for the module: the imported half of the ABI, made safe.

use crate::mmap::Mmap;
use crate::route_config::RouteConfig;
use crate::stream::{Headers, Reply, Response, Stream, TooManyHeaders, MAX_HEADERS};
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::raw::c_int;
use std::os::unix::net::UnixDatagram;
use std::ptr::null_mut;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that the other side owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Buf {
    ptr: *const u8,
    len: usize,
}

impl Buf {
    fn of(bytes: &[u8]) -> Self {
        Self {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// No value, which is another thing than an empty one.
    fn none() -> Self {
        Self {
            ptr: std::ptr::null(),
            len: 0,
        }
    }

    /// # Safety
    ///
    /// The bytes are readable, and do not change, for all of `'a`.
    pub(super) unsafe fn as_slice<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            // Envoy's pointer may then be null, which a slice's may not.
            return &[];
        }
        // SAFETY: as the caller promises; and Envoy's pointer is not null where there are bytes.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// A header's name and value, in both directions.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawHeader {
    name: Buf,
    value: Buf,
}

/// Namespace of the dynamic metadata that the filter sets, and its one key. `local_reply_config` looks for it.
const METADATA: &[u8] = b"cellplane";
const REFUSED: &[u8] = b"refused";

/// Key of the filter state that another pass of a request finds.
const REMEMBERED: &[u8] = b"cellplane.pass";
/// Envoy's number for a filter state that lives as long as the request, over all of its passes; shared with no upstream.
const LIFE_OF_REQUEST: u32 = 1;
const NOT_SHARED: u32 = 0;

/// Where the agent is told something, in Envoy's working folder.
const AGENT_LISTENS: &str = "captures.sock";

/// The cluster of the router's own agent, and how long it may take to answer.
const AGENT_CLUSTER: &[u8] = b"agent:";
const AGENT_TIMEOUT_MS: u64 = 5_000;
/// What Envoy says of a callout that is under way.
const CALLOUT_STARTED: u32 = 0;

/// Envoy's numbers for attributes.
const RESPONSE_CODE: u32 = 15;
const RESPONSE_FLAGS: u32 = 17;

/// Envoy's number for what has just come of a response's body.
const RECEIVED_RESPONSE_BODY: u32 = 2;

/// Envoy's number for the response's headers.
const RESPONSE_HEADERS: u32 = 2;

/// Envoy's number for `source.address`: the downstream remote address, which is the one that it trusts of
/// X-Forwarded-For where it was told to.
const SOURCE_ADDRESS: u32 = 24;

/// Envoy's object for a stream's filter.
pub(super) type FilterPtr = *mut c_void;

extern "C" {
    fn envoy_dynamic_module_callback_log(level: u32, message: Buf);
    fn envoy_dynamic_module_callback_get_most_specific_route_config(filter: FilterPtr) -> *const c_void;
    fn envoy_dynamic_module_callback_http_get_headers_size(filter: FilterPtr, kind: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_headers(filter: FilterPtr, kind: u32, result: *mut RawHeader) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(filter: FilterPtr, kind: u32, name: Buf, value: Buf) -> bool;
    fn envoy_dynamic_module_callback_http_add_header(filter: FilterPtr, kind: u32, name: Buf, value: Buf) -> bool;
    fn envoy_dynamic_module_callback_http_clear_route_cache(filter: FilterPtr);
    fn envoy_dynamic_module_callback_http_set_dynamic_metadata_bool(
        filter: FilterPtr,
        namespace: Buf,
        key: Buf,
        value: bool,
    );
    fn envoy_dynamic_module_callback_http_get_cluster_host_count(
        filter: FilterPtr,
        priority: u32,
        total: *mut usize,
        healthy: *mut usize,
        degraded: *mut usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: FilterPtr,
        attribute: u32,
        result: *mut Buf,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        filter: FilterPtr,
        attribute: u32,
        result: *mut u64,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_worker_index(filter: FilterPtr) -> u32;
    fn envoy_dynamic_module_callback_http_get_header(
        filter: FilterPtr,
        kind: u32,
        name: Buf,
        result: *mut Buf,
        index: usize,
        count: *mut usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_value(
        filter: FilterPtr,
        key: Buf,
        value: Buf,
        life_span: u32,
        sharing: u32,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_filter_state_bytes(filter: FilterPtr, key: Buf, result: *mut Buf)
        -> bool;
    fn envoy_dynamic_module_callback_http_filter_http_callout(
        filter: FilterPtr,
        id: *mut u64,
        cluster: Buf,
        headers: *mut RawHeader,
        header_count: usize,
        body: Buf,
        timeout_ms: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_get_body_chunks_size(filter: FilterPtr, kind: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_body_chunks(filter: FilterPtr, kind: u32, result: *mut Buf) -> bool;
    fn envoy_dynamic_module_callback_http_filter_continue_encoding(filter: FilterPtr);
    fn envoy_dynamic_module_callback_http_filter_recreate_stream(
        filter: FilterPtr,
        headers: *mut RawHeader,
        header_count: usize,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_send_response(
        filter: FilterPtr,
        status: u32,
        headers: *mut RawHeader,
        header_count: usize,
        body: Buf,
        details: Buf,
    );
}

/// The time of a clock of the system.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

const CLOCK_MONOTONIC: c_int = 1;

extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
}

thread_local! {
    /// By which the agent is told something; nobody waits for it.
    static TO_AGENT: Option<UnixDatagram> = UnixDatagram::unbound()
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .ok();
    static TURN: Cell<u64> = const { Cell::new(0) };
    /// Another one on each worker: an address of its own makes it so.
    static RANDOM: Cell<u64> = {
        let place = 0u8;
        Cell::new((&place as *const u8 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    };
}

/// Levels of Envoy's log.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Info = 2,
    Error = 4,
}

/// Writes a line to Envoy's log, where its level is enabled.
pub(super) fn log(level: Level, message: &str) {
    // SAFETY: Envoy copies the message before it returns.
    unsafe { envoy_dynamic_module_callback_log(level as u32, Buf::of(message.as_bytes())) }
}

/// A stream, as Envoy shows it to its filter.
pub(super) struct EnvoyStream {
    filter: FilterPtr,
}

impl EnvoyStream {
    /// # Safety
    ///
    /// `filter` is what Envoy gave to the hook that runs, and the value does not outlive this hook: Envoy calls a
    /// stream's hooks one after the other on one thread, and its objects live until the last one returns.
    pub(super) unsafe fn new(filter: FilterPtr) -> Self {
        Self { filter }
    }

    /// The value of `:status` among the headers of a callout's answer.
    ///
    /// # Safety
    ///
    /// There are so many headers, readable until the hook returns.
    pub(super) unsafe fn status_of(headers: *const c_void, count: usize) -> Option<u16> {
        let headers = headers.cast::<RawHeader>();
        (0..count).find_map(|place| {
            // SAFETY: as the caller promises.
            let (name, value) = unsafe {
                let header = *headers.add(place);
                (header.name.as_slice(), header.value.as_slice())
            };
            let is_status = name == b":status";
            is_status
                .then(|| std::str::from_utf8(value).ok()?.parse().ok())
                .flatten()
        })
    }

    /// The config of the request's route; None where the route has none.
    pub(super) fn route_config<'a>(&self) -> Option<&'a RouteConfig<Mmap>> {
        // SAFETY: see `new`. Envoy gives what our hook made of a route's config, a `RouteConfig<Mmap>` in a box, or
        // null. The box lives as long as its route, and Envoy keeps every route that a stream has had until the
        // stream ends, also after the route cache was cleared: so for longer than the hook that runs.
        unsafe {
            envoy_dynamic_module_callback_get_most_specific_route_config(self.filter)
                .cast::<RouteConfig<Mmap>>()
                .as_ref()
        }
    }

    fn set_or_remove(&mut self, headers: Headers, name: &[u8], value: Buf) {
        // SAFETY: see `new`. Envoy copies the name and the value before it returns.
        let is_set =
            unsafe { envoy_dynamic_module_callback_http_set_header(self.filter, kind(headers), Buf::of(name), value) };
        // A header that could not be replaced might say what its sender wants: better no answer than a wrong one.
        assert!(
            is_set,
            "Envoy did not change the header {}",
            String::from_utf8_lossy(name)
        );
    }
}

/// Envoy's number for a set of headers.
fn kind(headers: Headers) -> u32 {
    match headers {
        Headers::Request => 0,
        Headers::Trailers => 1,
        Headers::Response => RESPONSE_HEADERS,
    }
}

impl Stream for EnvoyStream {
    fn scan<'a>(&'a self, headers: Headers, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), TooManyHeaders> {
        // SAFETY: see `new`.
        let count = unsafe { envoy_dynamic_module_callback_http_get_headers_size(self.filter, kind(headers)) };
        if count > MAX_HEADERS {
            return Err(TooManyHeaders);
        }
        let mut found = [MaybeUninit::<RawHeader>::uninit(); MAX_HEADERS];
        // SAFETY: see `new`. Envoy writes as many headers as it has just counted, and there is room for them.
        let is_filled = unsafe {
            envoy_dynamic_module_callback_http_get_headers(self.filter, kind(headers), found.as_mut_ptr().cast())
        };
        assert!(
            is_filled || count == 0,
            "Envoy did not show the headers that it counted"
        );
        for header in &found[..count] {
            // SAFETY: Envoy wrote the first `count` headers. Their bytes stay until a header is changed, and all
            // that changes one borrows `self` mutably, which `'a` forbids.
            let (name, value) = unsafe {
                let header = header.assume_init();
                (header.name.as_slice(), header.value.as_slice())
            };
            visit(name, value);
        }
        Ok(())
    }

    fn set(&mut self, headers: Headers, name: &[u8], value: &[u8]) {
        self.set_or_remove(headers, name, Buf::of(value));
    }

    fn add(&mut self, headers: Headers, name: &[u8], value: &[u8]) {
        // SAFETY: see `new`. Envoy copies the name and the value before it returns.
        let is_added = unsafe {
            envoy_dynamic_module_callback_http_add_header(self.filter, kind(headers), Buf::of(name), Buf::of(value))
        };
        assert!(
            is_added,
            "Envoy did not add the header {}",
            String::from_utf8_lossy(name)
        );
    }

    fn remove(&mut self, headers: Headers, name: &[u8]) {
        self.set_or_remove(headers, name, Buf::none());
    }

    fn clear_route_cache(&mut self) {
        // SAFETY: see `new`.
        unsafe { envoy_dynamic_module_callback_http_clear_route_cache(self.filter) }
    }

    fn healthy_hosts(&self) -> usize {
        let (mut total, mut healthy, mut degraded) = (0, 0, 0);
        // SAFETY: see `new`. Envoy writes the three counts, or nothing where there is no cluster.
        unsafe {
            envoy_dynamic_module_callback_http_get_cluster_host_count(
                self.filter,
                0,
                &mut total,
                &mut healthy,
                &mut degraded,
            );
        }
        healthy
    }

    fn client_address(&self) -> &[u8] {
        let mut address = Buf::none();
        // SAFETY: see `new`. Envoy writes where its text is, or nothing. The text is part of the stream's own
        // address object, which nobody replaces while the hook runs.
        unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_string(self.filter, SOURCE_ADDRESS, &mut address);
            address.as_slice()
        }
    }

    fn unix_seconds(&self) -> u64 {
        // A clock before 1970 knows no time: every cookie has expired then.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(u64::MAX, |since| since.as_secs())
    }

    fn clock_ns(&self) -> u64 {
        let mut time = Timespec {
            seconds: 0,
            nanoseconds: 0,
        };
        // SAFETY: the system writes the time of a clock that every Linux has.
        unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
        time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
    }

    fn worker(&self) -> usize {
        // SAFETY: see `new`.
        unsafe { envoy_dynamic_module_callback_http_filter_get_worker_index(self.filter) as usize }
    }

    fn random(&self) -> u32 {
        RANDOM.with(|state| {
            // Xorshift (Marsaglia, 2003): for shares of requests, not for secrets.
            let mut x = state.get();
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            state.set(x);
            (x >> 32) as u32
        })
    }

    fn turn(&self) -> u64 {
        TURN.with(|turn| turn.replace(turn.get().wrapping_add(1)))
    }

    fn response(&self) -> Response {
        let number = |attribute| {
            let mut value = 0;
            // SAFETY: see `new`. Envoy writes a number, or nothing.
            let is_there = unsafe {
                envoy_dynamic_module_callback_http_filter_get_attribute_int(self.filter, attribute, &mut value)
            };
            is_there.then_some(value)
        };
        Response {
            status: number(RESPONSE_CODE).and_then(|status| u16::try_from(status).ok()),
            flags: number(RESPONSE_FLAGS).unwrap_or(0),
        }
    }

    fn response_header(&self, name: &[u8]) -> &[u8] {
        let (mut value, mut count) = (Buf::none(), 0);
        // SAFETY: see `new`. Envoy writes where the value is, which stays until a header is changed, and all that
        // changes one borrows `self` mutably.
        unsafe {
            let is_there = envoy_dynamic_module_callback_http_get_header(
                self.filter,
                RESPONSE_HEADERS,
                Buf::of(name),
                &mut value,
                0,
                &mut count,
            );
            if is_there {
                value.as_slice()
            } else {
                &[]
            }
        }
    }

    fn response_parts(&self, mut visit: impl FnMut(&[u8])) {
        // SAFETY: see `new`.
        let count =
            unsafe { envoy_dynamic_module_callback_http_get_body_chunks_size(self.filter, RECEIVED_RESPONSE_BODY) };
        let mut parts = vec![Buf::none(); count];
        // SAFETY: see `new`. Envoy writes as many parts as it has just counted; they stay while this hook runs, as
        // nothing here changes a body.
        unsafe {
            let is_there = envoy_dynamic_module_callback_http_get_body_chunks(
                self.filter,
                RECEIVED_RESPONSE_BODY,
                parts.as_mut_ptr(),
            );
            if is_there {
                parts.into_iter().for_each(|part| visit(part.as_slice()));
            }
        }
    }

    fn tell_agent(&self, datagram: &[u8]) -> bool {
        TO_AGENT.with(|socket| match socket {
            Some(socket) => socket.send_to(datagram, AGENT_LISTENS).is_ok(),
            None => false,
        })
    }

    fn remember(&mut self, value: &[u8]) {
        // SAFETY: see `new`. Envoy copies the key and the value before it returns.
        unsafe {
            envoy_dynamic_module_callback_http_set_filter_state_value(
                self.filter,
                Buf::of(REMEMBERED),
                Buf::of(value),
                LIFE_OF_REQUEST,
                NOT_SHARED,
            );
        }
    }

    fn remembered(&self) -> Option<&[u8]> {
        let mut value = Buf::none();
        // SAFETY: see `new`. Envoy writes where the value is, which nobody changes while this hook runs.
        unsafe {
            envoy_dynamic_module_callback_http_get_filter_state_bytes(self.filter, Buf::of(REMEMBERED), &mut value)
                .then(|| value.as_slice())
        }
    }

    fn ask_agent(&mut self, path: &str) -> bool {
        let mut headers = [(":method", "GET"), (":path", path), ("host", "agent")].map(|(name, value)| RawHeader {
            name: Buf::of(name.as_bytes()),
            value: Buf::of(value.as_bytes()),
        });
        let mut id = 0;
        // SAFETY: see `new`. Envoy copies the headers before it returns, and calls `http_callout_done` once, unless the
        // client goes away before.
        let result = unsafe {
            envoy_dynamic_module_callback_http_filter_http_callout(
                self.filter,
                &mut id,
                Buf::of(AGENT_CLUSTER),
                headers.as_mut_ptr(),
                headers.len(),
                Buf::none(),
                AGENT_TIMEOUT_MS,
            )
        };
        result == CALLOUT_STARTED
    }

    fn continue_response(&mut self) {
        // SAFETY: see `new`.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_encoding(self.filter) }
    }

    fn begin_anew(&mut self) -> bool {
        // SAFETY: see `new`. Another pass of the filter runs inside of this call; the caller holds nothing of this one.
        unsafe { envoy_dynamic_module_callback_http_filter_recreate_stream(self.filter, null_mut(), 0) }
    }

    fn mark_refused(&mut self) {
        // SAFETY: see `new`. Envoy copies the names before it returns.
        unsafe {
            envoy_dynamic_module_callback_http_set_dynamic_metadata_bool(
                self.filter,
                Buf::of(METADATA),
                Buf::of(REFUSED),
                true,
            );
        }
    }

    fn reply(&mut self, reply: &Reply) {
        let mut headers: Vec<RawHeader> = reply
            .headers
            .iter()
            .map(|(name, value)| RawHeader {
                name: Buf::of(name.as_bytes()),
                value: Buf::of(value.as_bytes()),
            })
            .collect();
        // SAFETY: see `new`. All buffers live until Envoy returns, and it copies them before.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                self.filter,
                reply.status.into(),
                headers.as_mut_ptr(),
                headers.len(),
                Buf::of(reply.body),
                Buf::of(reply.details.as_bytes()),
            );
        }
    }
}
