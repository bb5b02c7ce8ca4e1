//! The tenants that take most of a cell's time: the ones that an agent may have to keep away from others.
//!
//! A sketch of fixed size, after *Efficient Computation of Frequent and Top-k Elements in Data Streams* (Metwally,
//! Agrawal, El Abbadi, 2005): whoever comes when all places are taken gets the place of the least, and its weight. So
//! whoever has more than a sixteenth of a cell's time has a place, and what a place says is at most too much by what it
//! began with. The weight is microseconds, and a second more of a request that failed; the agent may halve nothing, it
//! takes differences.
//!
//! Words of a place: 0 a lock for readers (odd while it changes hands), 1 weight, 2 requests, 3 errors, 4 microseconds,
//! 5 the length of the key, 6 the weight that it began with, 8 to 23 the key.

use crate::key::MAX_KEY_BYTES;
use std::sync::atomic::{fence, AtomicU64, Ordering};

/// Words of a worker and cell.
pub const WORDS: usize = PLACES * PLACE_WORDS;

const PLACES: usize = 16;
const PLACE_WORDS: usize = 24;
const LOCK: usize = 0;
const WEIGHT: usize = 1;
const REQUESTS: usize = 2;
const ERRORS: usize = 3;
const BUSY_US: usize = 4;
const KEY_BYTES: usize = 5;
const BEGAN_WITH: usize = 6;
const KEY: usize = 8;
const WORD_BYTES: usize = 8;
const ERROR_US: u64 = 1_000_000;

/// The places of a worker and cell.
pub struct Tenants<'a>(&'a [AtomicU64]);

impl<'a> Tenants<'a> {
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        debug_assert_eq!(words.len(), WORDS);
        Self(words)
    }

    /// Notes a request of a tenant that has ended.
    pub fn note(&self, key: &[u8], is_error: bool, duration_us: u64) {
        let place = self.find(key).unwrap_or_else(|| self.replace_least(key));
        // Also a request of no time counts. One that failed counts like a long one, or whoever fails at once, and is
        // what makes a cell ill, would have no place among those whose requests take time.
        let weight = duration_us + if is_error { ERROR_US } else { 1 };
        for (word, amount) in [
            (WEIGHT, weight),
            (REQUESTS, 1),
            (ERRORS, is_error.into()),
            (BUSY_US, duration_us),
        ] {
            set(&place[word], get(&place[word]).wrapping_add(amount));
        }
    }

    fn find(&self, key: &[u8]) -> Option<&'a [AtomicU64]> {
        let words = words_of(key);
        self.0.chunks_exact(PLACE_WORDS).find(|place| {
            let same = || {
                place[KEY..]
                    .iter()
                    .zip(words)
                    .all(|(word, expected)| get(word) == expected)
            };
            get(&place[KEY_BYTES]) == key.len() as u64 && same()
        })
    }

    fn replace_least(&self, key: &[u8]) -> &'a [AtomicU64] {
        let places = self.0.chunks_exact(PLACE_WORDS);
        let least = places.min_by_key(|place| get(&place[WEIGHT]));
        let place = least.expect("there are places");
        let lock = get(&place[LOCK]);
        set(&place[LOCK], lock.wrapping_add(1));
        fence(Ordering::Release);
        set(&place[BEGAN_WITH], get(&place[WEIGHT]));
        for word in [REQUESTS, ERRORS, BUSY_US] {
            set(&place[word], 0);
        }
        set(&place[KEY_BYTES], key.len() as u64);
        for (word, value) in place[KEY..].iter().zip(words_of(key)) {
            set(word, value);
        }
        fence(Ordering::Release);
        set(&place[LOCK], lock.wrapping_add(2));
        place
    }
}

/// A key as words, zeros behind it.
fn words_of(key: &[u8]) -> [u64; PLACE_WORDS - KEY] {
    let mut bytes = [0; MAX_KEY_BYTES];
    let length = key.len().min(MAX_KEY_BYTES);
    bytes[..length].copy_from_slice(&key[..length]);
    let mut words = [0; PLACE_WORDS - KEY];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(WORD_BYTES)) {
        let mut buffer = [0; WORD_BYTES];
        buffer.copy_from_slice(chunk);
        *word = u64::from_le_bytes(buffer);
    }
    words
}

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

fn set(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn entries(words: &[AtomicU64]) -> Vec<(Vec<u8>, u64, u64, u64)> {
        let mut found: Vec<_> = words
            .chunks_exact(PLACE_WORDS)
            .filter(|place| get(&place[KEY_BYTES]) > 0)
            .map(|place| {
                let bytes: Vec<u8> = place[KEY..].iter().flat_map(|word| get(word).to_le_bytes()).collect();
                let key = bytes[..get(&place[KEY_BYTES]) as usize].to_vec();
                (key, get(&place[REQUESTS]), get(&place[ERRORS]), get(&place[BUSY_US]))
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn each_tenant_has_a_place_of_its_own() {
        let words = words();
        let tenants = Tenants::new(&words);
        let long = [b'x'; MAX_KEY_BYTES];
        for (key, is_error, duration) in [
            (&b"a"[..], false, 5),
            (b"ab", true, 7),
            (b"a", true, 6),
            (&long, false, 0),
        ] {
            tenants.note(key, is_error, duration);
        }
        let expected = vec![
            (b"a".to_vec(), 2, 1, 11),
            (b"ab".to_vec(), 1, 1, 7),
            (long.to_vec(), 1, 0, 0),
        ];
        assert_eq!(entries(&words), expected);
    }

    #[test]
    fn whoever_fails_at_once_keeps_a_place_among_many_that_take_time() {
        let words = words();
        let tenants = Tenants::new(&words);
        for round in 0..10_000u32 {
            tenants.note(format!("small-{}", round % 3_000).as_bytes(), false, 50_000);
            if round % 10 == 0 {
                tenants.note(b"poison", true, 100);
            }
        }
        let poison = entries(&words).into_iter().find(|entry| entry.0 == b"poison").unwrap();
        assert!(poison.1 > 900 && poison.1 == poison.2, "{poison:?}");
    }

    #[test]
    fn whoever_takes_much_keeps_a_place_among_many() {
        let words = words();
        let tenants = Tenants::new(&words);
        for round in 0..10_000u32 {
            tenants.note(format!("small-{}", round % 3_000).as_bytes(), false, 10);
            if round % 5 == 0 {
                tenants.note(b"large", round % 10 == 0, 100);
            }
        }
        let large = entries(&words).into_iter().find(|entry| entry.0 == b"large").unwrap();
        assert!(large.1 > 1_900 && large.2 > 900 && large.3 > 190_000, "{large:?}");
        assert_eq!(entries(&words).len(), PLACES);
    }
}
