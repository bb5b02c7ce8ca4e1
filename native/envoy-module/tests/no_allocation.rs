//! The hot path allocates nothing: counted by an allocator of this test's own.
#![deny(unsafe_op_in_unsafe_fn)]

mod support;

use cellplane_envoy::cookie::Keyring;
use cellplane_envoy::filter::{keep_body, keep_headers, on_request_headers, Verdict};
use cellplane_envoy::flow::Flow;
use cellplane_envoy::kept::Kept;
use cellplane_envoy::route_config::RouteConfig;
use cellplane_envoy::stream::{Headers, Reply, Response, Stream, TooManyHeaders};
use cellplane_envoy::table::{Base, Table};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use support::{OverlayWriter, Source, TableWriter};

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

    fn set(&mut self, _: Headers, _: &[u8], _: &[u8]) {
        self.sets += 1;
    }

    fn add(&mut self, _: Headers, _: &[u8], _: &[u8]) {
        self.sets += 1;
    }

    fn remove(&mut self, _: Headers, _: &[u8]) {}

    fn clear_route_cache(&mut self) {}

    fn client_address(&self) -> &[u8] {
        b"192.0.2.1:443"
    }

    fn unix_seconds(&self) -> u64 {
        1_999_999_999
    }

    fn clock_ns(&self) -> u64 {
        1
    }

    fn worker(&self) -> usize {
        0
    }

    fn random(&self) -> u32 {
        0
    }

    fn turn(&self) -> u64 {
        0
    }

    fn response(&self) -> Response {
        Response::default()
    }

    fn response_header(&self, _: &[u8]) -> &[u8] {
        b""
    }

    fn response_parts(&self, _: impl FnMut(&[u8])) {}

    fn tell_agent(&self, _: &[u8]) -> bool {
        false
    }

    fn remember(&mut self, _: &[u8]) {}

    fn remembered(&self) -> Option<&[u8]> {
        None
    }

    fn ask_agent(&mut self, _: &str) -> bool {
        false
    }

    fn continue_response(&mut self) {}

    fn begin_anew(&mut self) -> bool {
        false
    }

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

/// Routes a request and gives the headers that were set and the allocations that it cost.
fn cost(config: &RouteConfig<Vec<u8>>, headers: Vec<(&'static str, &'static str)>) -> (usize, usize) {
    let mut stream = FixedStream { headers, sets: 0 };
    let mut flow = Flow::default();
    let before = ALLOCATIONS.with(Cell::get);
    let verdict = on_request_headers(&mut stream, &mut flow, Some(config), true);
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert_eq!(verdict, Verdict::Continue);
    (stream.sets, allocations)
}

#[test]
fn a_routed_request_allocates_nothing() {
    let writer = TableWriter {
        key_sources: vec![
            Source::header("x-org"),
            Source::subdomain("example.com"),
            Source::path("/t/"),
        ],
        missing_key: 2,
        ..TableWriter::sample()
    };
    let file = writer.encode();
    let overlay = OverlayWriter::sample(&file).encode();
    let base = Arc::new(Base::new(file).unwrap());
    for table in [
        Table::new(base.clone()),
        Table::with_overlay(base.clone(), overlay).unwrap(),
    ] {
        let config = RouteConfig::new(table, None);
        for key in ["pinned", "enterprise", "unheard-of", "arrived"] {
            let headers = vec![(":method", "GET"), (":path", "/"), ("x-org", key), ("accept", "*/*")];
            assert_eq!(cost(&config, headers), (3, 0), "{key}");
        }
        assert_eq!(cost(&config, vec![(":authority", "PINNED.example.com:80")]), (3, 0));
        assert_eq!(cost(&config, vec![(":path", "/t/pinned?a=b")]), (3, 0));
        assert_eq!(
            cost(
                &config,
                vec![(":method", "GET"), (":path", "/"), (":authority", "example.com")]
            ),
            (2, 0)
        );
    }
}

#[test]
fn an_answer_that_nobody_wants_kept_allocates_nothing() {
    let writer = TableWriter::sample();
    let table = Table::new(Arc::new(Base::new(writer.encode()).unwrap()));
    let config = RouteConfig {
        kept: Some(Kept::shared(1 << 20)),
        ..RouteConfig::new(table, None)
    };
    let mut stream = FixedStream {
        headers: vec![(":method", "GET"), (":path", "/"), ("x-tenant-id", "pinned")],
        sets: 0,
    };
    let mut flow = Flow::default();
    assert_eq!(
        on_request_headers(&mut stream, &mut flow, Some(&config), true),
        Verdict::Continue
    );
    let before = ALLOCATIONS.with(Cell::get);
    keep_headers(&stream, &mut flow, &config, false);
    keep_body(&stream, &mut flow, &config, true);
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}

#[test]
fn neither_a_claim_nor_a_cookie_allocates_anything() {
    let writer = TableWriter {
        key_sources: vec![Source::claim("org.id"), Source::cookie("route")],
        ..TableWriter::sample()
    };
    let table = Table::new(Arc::new(Base::new(writer.encode()).unwrap()));
    let keys = Keyring::parse("new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
    let config = RouteConfig::new(table, Some(keys));
    assert_eq!(cost(&config, vec![("x-cell-claim-a16404e4", "pinned")]), (3, 0));
    let cookie = "a=b; route=cp1.2000000000.new.UKCy6_AZwHBn5LncyL1c3R0KCstZkAyFa3tCey2yDQQ.pinned";
    assert_eq!(cost(&config, vec![("cookie", cookie)]), (3, 0));
}
