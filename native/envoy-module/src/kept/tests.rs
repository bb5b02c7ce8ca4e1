//! Bounds, isolation and failures of what is kept.

use super::answer::tests::answer;
use super::*;
use crate::support::{FakeStream, Random};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

const MIB: usize = 1024 * 1024;
const SEEDS: u64 = 20;

fn key(path: &str) -> AnswerKey {
    let mut stream = FakeStream::new("GET", &[]);
    crate::stream::Stream::set(&mut stream, crate::stream::Headers::Request, b":path", path.as_bytes());
    Asked::of(&stream, &[], b"").unwrap().key
}

fn store(kept: &Kept, tenant: &str, path: &str, body: &[u8], since_ns: u64) -> Outcome {
    kept.store(tenant.as_bytes(), &key(path), answer(&[], body, since_ns))
}

fn found(kept: &Kept, tenant: &str, path: &str) -> Option<Vec<u8>> {
    let answer = kept.find(tenant.as_bytes(), &key(path))?;
    Some(answer.body().to_vec())
}

#[test]
fn the_last_answer_to_a_request_is_the_one_that_is_kept() {
    let kept = Kept::new(MIB);
    for body in [&b"old"[..], b"new"] {
        assert_eq!(store(&kept, "a", "/x", body, 1), Outcome::Stored(0));
    }
    assert_eq!(found(&kept, "a", "/x").unwrap(), b"new");
    let bytes = kept.bytes();
    assert_eq!(store(&kept, "a", "/x", b"old", 1), Outcome::Stored(0));
    assert_eq!(kept.bytes(), bytes);
    kept.forget(b"a", &key("/x"));
    assert_eq!((found(&kept, "a", "/x"), kept.bytes()), (None, 0));
}

#[test]
fn a_write_takes_away_its_path_whatever_the_query_and_what_was_asked_for_before() {
    let kept = Kept::new(MIB);
    for (tenant, path) in [("a", "/x"), ("a", "/x?q=1"), ("a", "/x/y"), ("a", "/xy"), ("b", "/x")] {
        store(&kept, tenant, path, b"old", 10);
    }
    kept.forget_path(b"a", &key("/x?other"), 20);
    let left = [("a", "/x"), ("a", "/x?q=1"), ("a", "/x/y"), ("a", "/xy"), ("b", "/x")];
    let left = left.map(|(tenant, path)| found(&kept, tenant, path).is_some());
    assert_eq!(left, [false, false, true, true, true]);
    for (since_ns, outcome) in [
        (19, Outcome::NotStored),
        (20, Outcome::NotStored),
        (21, Outcome::Stored(0)),
    ] {
        assert_eq!(store(&kept, "a", "/x", b"late", since_ns), outcome, "{since_ns}");
    }
}

/// Random operations against a plain map: nobody ever finds what was not stored for the same tenant and request, nor what
/// was written or forgotten since; and the bounds hold after each step.
#[test]
fn nobody_finds_what_is_not_theirs_and_the_bounds_hold() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let kept = Kept::new(MIB / 2);
        let mut expected: HashMap<(String, String), Vec<u8>> = HashMap::new();
        for now_ns in 1..1_500u64 {
            let tenant = ["a", "ab", "b", "", "B"][random.below(5)].to_owned();
            let path = format!("/{}?{}", random.below(8), random.below(6));
            let place = (tenant.clone(), path.clone());
            match random.below(12) {
                0 => {
                    kept.forget_path(tenant.as_bytes(), &key(&path), now_ns);
                    let of_path = format!("{}?", path.split('?').next().unwrap());
                    expected.retain(|(whose, path), _| *whose != tenant || !path.starts_with(&of_path));
                }
                1 => {
                    kept.forget(tenant.as_bytes(), &key(&path));
                    expected.remove(&place);
                }
                2..=5 => {
                    let body = format!("{tenant} {path} {now_ns} ")
                        .repeat(1 + random.below(40))
                        .into_bytes();
                    if store(&kept, &tenant, &path, &body, now_ns) != Outcome::NotStored {
                        expected.insert(place, body);
                    }
                }
                _ => {
                    // It may have gone to make room; then it is gone for the map, too.
                    match found(&kept, &tenant, &path) {
                        Some(body) => assert_eq!(expected.get(&place), Some(&body), "seed {seed}, {place:?}"),
                        None => drop(expected.remove(&place)),
                    }
                }
            }
            assert!(kept.bytes() <= MIB / 2, "seed {seed}: {} bytes", kept.bytes());
        }
        let hits = expected
            .keys()
            .filter(|(tenant, path)| found(&kept, tenant, path).is_some());
        assert!(hits.count() > 10, "seed {seed}: hardly anything was kept");
    }
}

#[test]
fn a_tenants_flood_takes_away_its_own_oldest_and_nobody_elses() {
    let kept = Kept::new(4 * MIB);
    let others: Vec<String> = (0..64).map(|number| format!("tenant-{number}")).collect();
    others.iter().for_each(|tenant| {
        store(&kept, tenant, "/x", b"small", 1);
    });
    let mut evicted = 0;
    for number in 0..2_000 {
        match store(&kept, "flood", &format!("/{number}"), &[0; 2_000], 1) {
            Outcome::Stored(others) => evicted += others,
            Outcome::NotStored => panic!("nobody else has the shard"),
        }
    }
    assert!(evicted > 1_900, "{evicted}");
    assert!(others.iter().all(|tenant| found(&kept, tenant, "/x").is_some()));
    assert!(found(&kept, "flood", "/0").is_none());
    assert!(found(&kept, "flood", "/1999").is_some());
    assert!(kept.bytes() < 4 * MIB / 16 + 64 * 4_096, "{}", kept.bytes());
}

#[test]
fn a_flood_of_many_tenants_stays_inside_of_the_bound() {
    let kept = Kept::new(MIB);
    for number in 0..3_000 {
        store(&kept, &format!("tenant-{number}"), "/x", &[0; 3_000], 1);
        assert!(kept.bytes() <= MIB);
    }
    assert!(kept.bytes() > MIB / 2);
}

#[test]
fn what_is_larger_than_a_tenants_part_is_not_kept() {
    let kept = Kept::new(MIB);
    assert_eq!(store(&kept, "a", "/x", &vec![0; MIB / 64], 1), Outcome::NotStored);
    assert_eq!(kept.bytes(), 0);
}

#[test]
fn what_is_still_coming_has_room_of_its_own_and_gives_it_back() {
    let kept = Arc::new(Kept::new(MIB));
    let mut rooms: Vec<Room> = (0..4).map(|_| Room::take(&kept, MIB / 16).unwrap()).collect();
    assert!(Room::take(&kept, 1).is_none());
    assert!(!rooms[0].grow(1));
    rooms.clear();
    assert_eq!(kept.bytes(), 0);
    assert!(Room::take(&kept, MIB / 4).is_some());
}

#[test]
fn who_stores_waits_for_nobody() {
    let kept = Kept::new(MIB);
    let place = kept.place(b"a");
    let held = kept.shards[place].write().unwrap();
    assert_eq!(store(&kept, "a", "/x", b"", 1), Outcome::NotStored);
    drop(held);
    assert_eq!(store(&kept, "a", "/x", b"", 1), Outcome::Stored(0));
}

#[test]
fn a_panic_leaves_what_was_whole_and_begins_anew_what_was_not() {
    let kept = Kept::new(MIB);
    let place = kept.place(b"a");
    let panics = |change: fn(&mut Tenants)| {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let mut shard = kept.shards[place].write().unwrap_or_else(PoisonError::into_inner);
                change(&mut shard);
                panic!("in a test");
            });
            assert!(done.join().is_err());
        });
    };
    store(&kept, "a", "/x", b"whole", 1);
    panics(|_| {});
    assert_eq!(found(&kept, "a", "/x").unwrap(), b"whole");
    panics(|shard| shard.begin_change());
    assert_eq!(found(&kept, "a", "/x"), None);
    assert_eq!(store(&kept, "a", "/y", b"after", 1), Outcome::Stored(0));
    assert_eq!(found(&kept, "a", "/x"), None);
    assert_eq!(found(&kept, "a", "/y").unwrap(), b"after");
    kept.forget_path(b"a", &key("/y"), 2);
    assert_eq!((found(&kept, "a", "/y"), kept.bytes()), (None, 0));
}

#[test]
fn workers_that_store_and_read_and_write_at_once_see_whole_answers_of_their_tenant() {
    let kept = Kept::new(MIB);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let (kept, is_over) = (&kept, &is_over);
            scope.spawn(move || {
                let mut random = Random(worker);
                for now_ns in 1..4_000 {
                    let tenant = ["a", "b", "c"][random.below(3)];
                    let path = format!("/{}", random.below(9));
                    match random.below(6) {
                        0 => kept.forget_path(tenant.as_bytes(), &key(&path), now_ns),
                        1..=3 => {
                            let body = format!("{tenant}{path}|").repeat(1 + random.below(200));
                            store(kept, tenant, &path, body.as_bytes(), now_ns);
                        }
                        _ => {
                            if let Some(body) = found(kept, tenant, &path) {
                                let part = format!("{tenant}{path}|");
                                assert_eq!(part.repeat(body.len() / part.len()).as_bytes(), body);
                            }
                        }
                    }
                }
                is_over.store(true, Relaxed);
            });
        }
        while !is_over.load(Relaxed) {
            assert!(kept.bytes() <= MIB);
        }
    });
}

#[test]
fn what_is_kept_is_one_for_all_routes_of_a_size() {
    let one = Kept::shared(3 * MIB);
    let other = Kept::shared(3 * MIB);
    assert!(Arc::ptr_eq(&one, &other));
    assert!(!Arc::ptr_eq(&one, &Kept::shared(2 * MIB)));
}
