//! Kept answers take no more memory than is said of them: counted by an allocator of this test's own.
#![deny(unsafe_op_in_unsafe_fn)]

mod support;

use cellplane_envoy::kept::{Answer, Asked, Head, Kept, Origin};
use cellplane_envoy::stream::{Headers, Stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use support::{FakeStream, Random};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go on to the system's allocator, unchanged; the count is a plain number that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TOTAL_BYTES: usize = 8 * 1024 * 1024;
const ROUNDS: usize = 60_000;

/// Stores an answer of one of so many tenants, to one of so many paths.
fn store(kept: &Kept, random: &mut Random, tenants: usize, paths: usize, most_bytes: usize) {
    let tenant = format!("tenant-{}", random.below(tenants));
    let mut stream = FakeStream::new("GET", &[]);
    stream.set(
        Headers::Request,
        b":path",
        format!("/{}", random.below(paths)).as_bytes(),
    );
    stream.response_headers = vec![(b"content-type".to_vec(), b"text/plain".to_vec())];
    let asked = Asked::of(&stream, &[], tenant.as_bytes()).unwrap();
    let head = Head::of(&stream, &asked).unwrap();
    let origin = Origin {
        cell: "cell-1".into(),
        jurisdiction: "eu".into(),
        since_ns: 1,
    };
    let body = vec![b'x'; random.below(most_bytes)];
    kept.store(tenant.as_bytes(), &asked.key, Answer::new(origin, head, body).unwrap());
}

#[test]
fn memory_is_within_what_is_said_of_it_and_that_within_the_bound() {
    for (seed, (tenants, paths, most_bytes)) in [(3, 4_000, 1), (3, 4_000, 9_000), (50_000, 2, 1), (500, 9, 600)]
        .into_iter()
        .enumerate()
    {
        let mut random = Random(seed as u64);
        let before = LIVE_BYTES.load(Relaxed);
        let kept = Kept::new(TOTAL_BYTES);
        let fixed = LIVE_BYTES.load(Relaxed) - before;
        assert!(fixed < 256 * 1024, "{fixed} bytes before anything is kept");
        let mut most = 0;
        for round in 0..ROUNDS {
            store(&kept, &mut random, tenants, paths, most_bytes);
            if round % 1_000 == 0 {
                let (live, said) = (LIVE_BYTES.load(Relaxed) - before - fixed, kept.bytes());
                assert!(
                    live <= said && said <= TOTAL_BYTES,
                    "seed {seed}: {live} bytes, {said} said"
                );
                most = most.max(said);
            }
        }
        assert!(most > TOTAL_BYTES / 80, "seed {seed}: hardly anything was kept");
    }
}
