//! What the module does for Envoy: the exported half of the ABI.
//!
//! Envoy refuses a module that lacks one of these symbols. The hooks that only return a constant cannot panic; all
//! others run inside of the guard.

use super::callbacks::{log, Buf, EnvoyStream, FilterPtr, Level};
use crate::filter::{fail, on_request_headers, on_request_trailers, Verdict};
use crate::guard::guard;
use crate::mmap::Mmap;
use crate::route_config::RouteConfig;
use std::ffi::c_void;
use std::os::raw::c_char;
use std::ptr::{null, NonNull};

/// The version of the ABI of Envoy 1.40, with a terminator.
static ABI_VERSION: &[u8] = b"v0.2.0\0";

const CONTINUE: u32 = 0;
const STOP_ITERATION: u32 = 1;

/// The filter keeps nothing of its own, neither for a chain nor for a stream; Envoy wants pointers that are not null.
fn nothing() -> *const c_void {
    NonNull::<c_void>::dangling().as_ptr()
}

fn log_panic(message: &str) {
    log(Level::Error, message);
}

/// Called once, when the module is loaded.
#[no_mangle]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    ABI_VERSION.as_ptr().cast()
}

/// A filter chain's config is empty: all that a request needs is in its route's.
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
    let accepted = guard("config_new", log_panic, || {
        // SAFETY: as the caller promises.
        let is_empty = unsafe { config.as_slice() }.is_empty();
        if !is_empty {
            log(
                Level::Error,
                "cellplane: filter config refused: expected none; a table belongs into the config of a route",
            );
        }
        is_empty
    });
    if accepted == Some(true) {
        nothing()
    } else {
        null()
    }
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

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_new(_config: *const c_void, _filter: FilterPtr) -> *const c_void {
    nothing()
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(_module: *const c_void) {}

/// # Safety
///
/// `filter` is Envoy's filter object, used by this thread only until the hook returns.
#[no_mangle]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    filter: FilterPtr,
    _module: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        on_stream("request_headers", filter, |stream| {
            let config = stream.route_config();
            on_request_headers(stream, config)
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
        Some(Verdict::Stop) | None => STOP_ITERATION,
    }
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _filter: FilterPtr,
    _module: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    CONTINUE
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _filter: FilterPtr,
    _module: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    CONTINUE
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(_filter: FilterPtr, _module: *const c_void) -> u32 {
    CONTINUE
}

#[no_mangle]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(_filter: FilterPtr, _module: *const c_void) {}

/// Hooks for what this filter never starts: callouts, streams of its own, events, flow control. Envoy passes
/// arguments, which the C calling convention lets a function ignore.
macro_rules! unused_hooks {
    ($($name:ident)*) => {
        $(#[no_mangle] extern "C" fn $name() {})*
    };
}

unused_hooks! {
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
}
