//! Limits of requests a second: of a cell, and of a tenant.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): one word says when the limit is used up to nothing again; a
//! request moves it on by the time that it costs, unless it lies too far ahead. So a limit needs no timer and no lock.

use crate::xxh32::{xxh32, xxh32_seeded};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far ahead of now a cell may be, of normal priority: what may come at once, in time.
const CELL_BURST_NS: u64 = 100_000_000;
/// How much further of high priority: what is kept for it.
const CELL_RESERVE_NS: u64 = 50_000_000;
/// A limit of one in 1,000 seconds makes a request cost so much.
const NS_OF_ONE_MILLI: u64 = 1_000_000_000_000;
const NS_OF_ONE_MS: u64 = 1_000_000;
/// Tries to move a word that others move too. Who loses all of them is let through: a limit is no lock.
const TRIES: usize = 8;

const SET_BITS: u32 = 15;
const WAYS: usize = 4;
/// Another hash than that of slots, whose lower bits choose a tenant's cell.
const TAG_SEED: u32 = 0x6C69_6D69;

/// A request is over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// When there is room again, in nanoseconds from now.
    pub wait_ns: u64,
    /// The limit, in requests in 1,000 seconds.
    pub rps_milli: u32,
    /// What may come at once, in nanoseconds.
    pub burst_ns: u64,
}

/// Takes one of a cell's requests.
pub fn take_of_cell(word: &AtomicU64, rps_milli: u32, high_priority: bool, now_ns: u64) -> Result<(), OverLimit> {
    let reserve = if high_priority { CELL_RESERVE_NS } else { 0 };
    take(word, rps_milli, CELL_BURST_NS + reserve, now_ns)
}

/// Takes one, where the word allows it; a limit of 0 is none.
fn take(word: &AtomicU64, rps_milli: u32, burst_ns: u64, now_ns: u64) -> Result<(), OverLimit> {
    if rps_milli == 0 {
        return Ok(());
    }
    let cost_ns = (NS_OF_ONE_MILLI / u64::from(rps_milli)).max(1);
    // At least one request may always come.
    let burst_ns = burst_ns.max(cost_ns);
    let mut seen = word.load(Relaxed);
    for _ in 0..TRIES {
        let free_at = seen.max(now_ns);
        let ahead = free_at + cost_ns - now_ns;
        if ahead > burst_ns {
            return Err(OverLimit {
                wait_ns: ahead - burst_ns,
                rps_milli,
                burst_ns,
            });
        }
        match word.compare_exchange_weak(seen, free_at + cost_ns, Relaxed, Relaxed) {
            Ok(_) => return Ok(()),
            Err(other) => seen = other,
        }
    }
    Ok(())
}

/// The limits of tenants: a table of fixed size, whatever their number. Whoever has not come for as long as its limit
/// needs to be free again may lose its place, which changes nothing. Where more than four who are busy share a set, the
/// one that is free first loses its place, and so gets a burst more than it should.
#[derive(Debug)]
pub struct TenantLimits {
    tags: Vec<AtomicU64>,
    words: Vec<AtomicU64>,
}

impl TenantLimits {
    /// Nobody has come.
    pub fn new() -> Self {
        let zeros = || (0..WAYS << SET_BITS).map(|_| AtomicU64::new(0)).collect();
        Self {
            tags: zeros(),
            words: zeros(),
        }
    }

    /// Takes one of a tenant's requests.
    pub fn take(&self, key: &[u8], rps_milli: u32, burst_ms: u32, now_ns: u64) -> Result<(), OverLimit> {
        if rps_milli == 0 {
            return Ok(());
        }
        take(
            self.word(key, now_ns),
            rps_milli,
            u64::from(burst_ms) * NS_OF_ONE_MS,
            now_ns,
        )
    }

    fn word(&self, key: &[u8], now_ns: u64) -> &AtomicU64 {
        let other = xxh32_seeded(key, TAG_SEED);
        // Never 0, which is the tag of a free place.
        let tag = u64::from(xxh32(key)) << 32 | u64::from(other | 1);
        let first = (other >> (32 - SET_BITS)) as usize * WAYS;
        let set = first..first + WAYS;
        if let Some(place) = set.clone().find(|place| self.tags[*place].load(Relaxed) == tag) {
            return &self.words[place];
        }
        let place = set
            .min_by_key(|place| self.words[*place].load(Relaxed))
            .expect("a set has places");
        self.tags[place].store(tag, Relaxed);
        self.words[place].store(now_ns, Relaxed);
        &self.words[place]
    }
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of `offered` requests a second pass in ten seconds.
    fn passed(rps_milli: u32, burst_ns: u64, offered: u64) -> u64 {
        let word = AtomicU64::new(0);
        let start = 5 * SECOND;
        (0..10 * offered)
            .filter(|number| take(&word, rps_milli, burst_ns, start + number * SECOND / offered).is_ok())
            .count() as u64
    }

    #[test]
    fn as_many_pass_as_the_limit_says_and_a_burst() {
        assert_eq!(passed(0, 0, 1_000), 10_000);
        assert_eq!(passed(100_000, SECOND, 1_000), 1_000 + 99);
        assert_eq!(passed(100_000, SECOND / 10, 1_000), 1_000 + 9);
        assert_eq!(passed(100_000, SECOND, 50), 500);
        // One in two seconds: the least burst is one.
        assert_eq!(passed(500, 1, 10), 5);
        assert_eq!(passed(u32::MAX, SECOND, 1_000), 10_000);
    }

    #[test]
    fn whoever_is_over_is_told_when_there_is_room() {
        let word = AtomicU64::new(0);
        assert_eq!(take(&word, 1_000, SECOND, 7 * SECOND), Ok(()));
        let over = take(&word, 1_000, SECOND, 7 * SECOND + SECOND / 4).unwrap_err();
        assert_eq!(
            (over.wait_ns, over.rps_milli, over.burst_ns),
            (SECOND * 3 / 4, 1_000, SECOND)
        );
        assert_eq!(take(&word, 1_000, SECOND, 8 * SECOND), Ok(()));
    }

    #[test]
    fn high_priority_has_room_where_normal_has_none() {
        let word = AtomicU64::new(0);
        let normal = (0..1_000)
            .filter(|_| take_of_cell(&word, 1_000_000, false, SECOND).is_ok())
            .count();
        let high = (0..1_000)
            .filter(|_| take_of_cell(&word, 1_000_000, true, SECOND).is_ok())
            .count();
        assert_eq!((normal, high), (100, 50));
    }

    #[test]
    fn tenants_have_limits_of_their_own() {
        let limits = TenantLimits::new();
        let passed = |key: &str| {
            (0..100)
                .filter(|_| limits.take(key.as_bytes(), 10_000, 1_000, SECOND).is_ok())
                .count()
        };
        assert_eq!(passed("acme"), 10);
        assert_eq!(passed("globex"), 10);
        assert_eq!(passed("acme"), 0);
        assert!(limits.take(b"anybody", 0, 1_000, SECOND).is_ok());
    }

    #[test]
    fn many_who_come_once_do_not_free_one_who_is_busy() {
        let limits = TenantLimits::new();
        let mut passed = 0;
        for number in 0..100_000u64 {
            let now = SECOND + number * 10_000;
            passed += u32::from(limits.take(b"busy", 100_000, 10, now).is_ok());
            limits
                .take(format!("t{number}").as_bytes(), 1_000_000, 10, now)
                .unwrap();
        }
        // 100 in each of one second, and at most a burst more each time that its place is lost.
        assert!((100..=110).contains(&passed), "{passed}");
    }
}
