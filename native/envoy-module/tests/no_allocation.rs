//! The hot path allocates nothing: counted by an allocator of this test's own.
#![deny(unsafe_op_in_unsafe_fn)]

mod support;

use cellplane_envoy::filter::{on_request_headers, Verdict};
use cellplane_envoy::route_config::RouteConfig;
use cellplane_envoy::stream::{Headers, Reply, Stream, TooManyHeaders};
use cellplane_envoy::table::Table;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::TableWriter;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls go on to the system's allocator, unchanged; the count is a plain number that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A request whose headers do not change when they are set, so that the stream itself allocates nothing.
struct FixedStream {
    headers: Vec<(&'static str, &'static str)>,
    sets: usize,
}

impl Stream for FixedStream {
    fn scan<'a>(&'a self, _: Headers, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), TooManyHeaders> {
        for (name, value) in &self.headers {
            visit(name.as_bytes(), value.as_bytes());
        }
        Ok(())
    }

    fn set(&mut self, _: &[u8], _: &[u8]) {
        self.sets += 1;
    }

    fn add(&mut self, _: &[u8], _: &[u8]) {
        self.sets += 1;
    }

    fn remove(&mut self, _: Headers, _: &[u8]) {}

    fn clear_route_cache(&mut self) {}

    fn mark_refused(&mut self) {
        unreachable!("a routed request is not refused");
    }

    fn healthy_hosts(&self) -> usize {
        1
    }

    fn reply(&mut self, reply: &Reply) {
        panic!("expected a route, found {reply:?}");
    }
}

#[test]
fn a_routed_request_allocates_nothing() {
    let writer = TableWriter {
        key_header: "x-org",
        ..TableWriter::sample()
    };
    let config = RouteConfig::new(Table::new(writer.encode()).unwrap());
    for key in ["pinned", "enterprise", "unheard-of"] {
        let headers = vec![(":method", "GET"), (":path", "/"), ("x-org", key), ("accept", "*/*")];
        let mut stream = FixedStream { headers, sets: 0 };
        let before = ALLOCATIONS.with(Cell::get);
        let verdict = on_request_headers(&mut stream, Some(&config));
        let allocations = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!((verdict, stream.sets, allocations), (Verdict::Continue, 3, 0), "{key}");
    }
}
