//! What the module does for Envoy: the exported half of the ABI.
//!
//! Envoy refuses a module that lacks one of these symbols. The hooks that only return a constant cannot panic; all
//! others run inside of the guard.

use super::callbacks::{log, Buf, EnvoyStream, FilterPtr, Level};
use crate::filter::{
    fail, keep_body, keep_headers, keep_trailers, note_body, note_headers, note_trailers, on_agent_answer, on_complete,
    on_copy_complete, on_copy_headers, on_request_headers, on_request_trailers, on_response_headers, Verdict,
};
use crate::flow::Flow;
use crate::guard::guard;
use crate::mmap::Mmap;
use crate::route_config::RouteConfig;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::os::raw::c_char;
use std::ptr::null;

/// The version of the ABI of Envoy 1.40, with a terminator.
static ABI_VERSION: &[u8] = b"v0.2.0\0";

const CONTINUE: u32 = 0;
const STOP_ITERATION: u32 = 1;
const STOP_ALL_AND_BUFFER: u32 = 3;

/// What the filter does in a chain, as its config there says. What Envoy keeps of it is the address of one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Routes requests of clients: no config, as all that one needs is in its route's.
    Router,
    /// Sends copies on, and keeps their answers: `copies`.
    Copies,
}

static ROUTER: Role = Role::Router;
static COPIES: Role = Role::Copies;

fn log_panic(message: &str) {
    log(Level::Error, message);
}

/// Called once, when the module is loaded.
#[no_mangle]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    ABI_VERSION.as_ptr().cast()
}

/// See [`Role`].
///
/// # Safety
///
/// `config` is readable until the hook returns.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _envoy: *mut c_void,
    _name: Buf,
    config: Buf,
) -> *const c_void {
    let role: Option<&'static Role> = guard("config_new", log_panic, || {
        // SAFETY: as the caller promises.
        match unsafe { config.as_slice() } {
            b"" => Some(&ROUTER),
            b"copies" => Some(&COPIES),
            _ => {
                log(
                    Level::Error,
                    "cellplane: filter config refused: expected none, or copies; a table belongs into the config of a \
                     route",
                );
                None
            }
        }
    })
    .flatten();
    role.map_or(null(), |role| (role as *const Role).cast())
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(_config: *const c_void) {}

/// Opens a route's table. Null makes Envoy refuse the update, and keep the route that it had.
///
/// # Safety
///
/// `config` is readable until the hook returns.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buf,
    config: Buf,
) -> *const c_void {
    let opened = guard("per_route_config_new", log_panic, || {
        // SAFETY: as the caller promises.
        match RouteConfig::load(unsafe { config.as_slice() }) {
            Ok(config) => {
                let RouteConfig { table, epoch_text, .. } = &config;
                let ((entries, overlaid), cells) = (table.entry_counts(), table.base().cell_count());
                log(
                    Level::Info,
                    &format!(
                        "cellplane: routing table of epoch {epoch_text} opened: {cells} cells, {entries} entries, \
                         {overlaid} in the overlay"
                    ),
                );
                Some(Box::new(config))
            }
            Err(error) => {
                log(Level::Error, &format!("cellplane: routing table refused: {error}"));
                None
            }
        }
    });
    match opened.flatten() {
        Some(config) => Box::into_raw(config).cast::<c_void>(),
        None => null(),
    }
}

/// # Safety
///
/// `config` is of `per_route_config_new`, not null, and no request uses it any more.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(config: *const c_void) {
    guard("per_route_config_destroy", log_panic, || {
        // SAFETY: as the caller promises, it is the pointer of a box that nobody else will free.
        drop(unsafe { Box::from_raw(config as *mut RouteConfig<Mmap>) });
    });
}

/// What is kept of a stream. Envoy calls its hooks one after the other on one thread, so cells do; a second pass of a
/// request, which runs inside of a hook of the first, is another stream.
struct StreamState {
    role: Role,
    flow: RefCell<Flow>,
    /// By which the request was routed. Envoy keeps every route that a stream has had until the stream ends.
    config: Cell<Option<&'static RouteConfig<Mmap>>>,
}

/// The state that `filter_new` made.
///
/// # Safety
///
/// `module` is what `filter_new` gave, and `filter_destroy` was not called with it yet.
unsafe fn state_of<'a>(module: *const c_void) -> &'a StreamState {
    // SAFETY: as the caller promises.
    unsafe { &*module.cast::<StreamState>() }
}

/// # Safety
///
/// `config` is of `http_filter_config_new`, not null.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    _filter: FilterPtr,
) -> *const c_void {
    // SAFETY: as the caller promises.
    let role = unsafe { *config.cast::<Role>() };
    let made = guard("filter_new", log_panic, || {
        Box::into_raw(Box::new(StreamState {
            role,
            flow: RefCell::default(),
            config: Cell::new(None),
        }))
    });
    made.map_or(null(), |state| state as *const c_void)
}

/// # Safety
///
/// `module` is of `filter_new`, and no hook is called with it any more.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(module: *const c_void) {
    guard("filter_destroy", log_panic, || {
        // SAFETY: as the caller promises, it is the pointer of a box that nobody else will free.
        drop(unsafe { Box::from_raw(module as *mut StreamState) });
    });
}

/// # Safety
///
/// `filter` is Envoy's filter object, used by this thread only until the hook returns; `module` is of `filter_new`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    filter: FilterPtr,
    module: *const c_void,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        on_stream("request_headers", filter, |stream| {
            let state = state_of(module);
            if state.role == Role::Copies {
                return on_copy_headers(stream, &mut state.flow.borrow_mut());
            }
            let config = stream.route_config();
            state.config.set(config);
            on_request_headers(stream, &mut state.flow.borrow_mut(), config, end_of_stream)
        })
    }
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _filter: FilterPtr,
    _module: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    CONTINUE
}

/// # Safety
///
/// As `request_headers`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    filter: FilterPtr,
    _module: *const c_void,
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { on_stream("request_trailers", filter, on_request_trailers) }
}

/// Runs a hook on a stream. After a panic the request is answered with 500, and goes nowhere even where that panics.
///
/// # Safety
///
/// As [`EnvoyStream::new`].
unsafe fn on_stream(hook: &str, filter: FilterPtr, body: impl FnOnce(&mut EnvoyStream) -> Verdict) -> u32 {
    // SAFETY: as the caller promises.
    let mut stream = unsafe { EnvoyStream::new(filter) };
    let verdict = guard(hook, log_panic, || body(&mut stream))
        .or_else(|| guard("the answer to a panic", log_panic, || fail(&mut stream)));
    match verdict {
        Some(Verdict::Continue) => CONTINUE,
        Some(Verdict::Stop | Verdict::Hold) | None => STOP_ITERATION,
    }
}

/// # Safety
///
/// As `request_headers`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    filter: FilterPtr,
    module: *const c_void,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: as the caller promises.
    let (mut stream, state) = unsafe { (EnvoyStream::new(filter), state_of(module)) };
    // After a panic the answer goes on as it is.
    let verdict = guard("response_headers", log_panic, || {
        let mut flow = state.flow.borrow_mut();
        note_headers(&stream, &mut flow, end_of_stream);
        match state.config.get() {
            Some(config) => {
                let verdict = on_response_headers(&mut stream, &mut flow, config);
                if verdict == Verdict::Continue {
                    keep_headers(&stream, &mut flow, config, end_of_stream);
                }
                verdict
            }
            None => Verdict::Continue,
        }
    });
    match verdict {
        Some(Verdict::Stop) => STOP_ITERATION,
        Some(Verdict::Hold) => STOP_ALL_AND_BUFFER,
        Some(Verdict::Continue) | None => CONTINUE,
    }
}

/// # Safety
///
/// As `request_headers`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    filter: FilterPtr,
    module: *const c_void,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: as the caller promises.
    let (stream, state) = unsafe { (EnvoyStream::new(filter), state_of(module)) };
    guard("response_body", log_panic, || {
        // An answer that was held goes on inside of the hook that lets it, and is none that is kept or compared.
        if let Ok(mut flow) = state.flow.try_borrow_mut() {
            note_body(&stream, &mut flow, end_of_stream);
            if let Some(config) = state.config.get() {
                keep_body(&stream, &mut flow, config, end_of_stream);
            }
        }
    });
    CONTINUE
}

/// # Safety
///
/// As `request_headers`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _filter: FilterPtr,
    module: *const c_void,
) -> u32 {
    // SAFETY: as the caller promises.
    let state = unsafe { state_of(module) };
    guard("response_trailers", log_panic, || {
        if let Ok(mut flow) = state.flow.try_borrow_mut() {
            note_trailers(&mut flow);
            keep_trailers(&mut flow);
        }
    });
    CONTINUE
}

/// # Safety
///
/// As `request_headers`.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(filter: FilterPtr, module: *const c_void) {
    // SAFETY: as the caller promises.
    let (stream, state) = unsafe { (EnvoyStream::new(filter), state_of(module)) };
    guard("stream_complete", log_panic, || {
        // Where the request was begun anew, this hook runs inside of the one that did so, which has counted it.
        if let Ok(mut flow) = state.flow.try_borrow_mut() {
            match state.config.get() {
                Some(config) => on_complete(&stream, &mut flow, config),
                None => on_copy_complete(&stream, &mut flow),
            }
        }
    });
}

/// The agent has answered, or did not in time, which Envoy shows as an answer with 504.
///
/// # Safety
///
/// As `request_headers`; `headers` has so many.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    filter: FilterPtr,
    module: *const c_void,
    _id: u64,
    _result: u32,
    headers: *const c_void,
    header_count: usize,
    _body: *const c_void,
    _body_count: usize,
) {
    // SAFETY: as the caller promises.
    let (mut stream, state, status) = unsafe {
        (
            EnvoyStream::new(filter),
            state_of(module),
            EnvoyStream::status_of(headers, header_count),
        )
    };
    guard("http_callout_done", log_panic, || {
        if let Some(config) = state.config.get() {
            on_agent_answer(&mut stream, &mut state.flow.borrow_mut(), config, status == Some(200));
        }
    });
}

/// Hooks for what this filter never starts: callouts, streams of its own, events, flow control. Envoy passes
/// arguments, which the C calling convention lets a function ignore.
macro_rules! unused_hooks {
    ($($name:ident)*) => {
        $(#[no_mangle] extern "C" fn $name() {})*
    };
}

unused_hooks! {
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
}
