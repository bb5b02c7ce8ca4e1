//! The answers of some tenants, each in a map of its own, in a bounded number of bytes.

use super::{Answer, AnswerKey, Outcome};
use crate::xxh32::xxh32_seeded;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// What a tenant costs beyond its answers: its places in the maps, with the first node of each.
const TENANT_BYTES: usize = 1536;
/// Places for the times of writes, by a hash of tenant and path.
const WRITE_PLACES: usize = 1024;
const WRITE_SEED: u32 = 0x7772_6974;

/// What is kept of one tenant's answers.
#[derive(Debug, Default)]
struct Tenant {
    /// By key, so that those of one path stand together.
    answers: BTreeMap<Arc<[u8]>, (u64, Arc<Answer>)>,
    /// Keys by the turn in which they were stored: the first is the one that nobody asked for for longest.
    by_turn: BTreeMap<u64, Arc<[u8]>>,
    bytes: usize,
}

impl Tenant {
    fn remove(&mut self, key: &[u8]) -> bool {
        let (turn, answer) = match self.answers.remove(key) {
            Some(removed) => removed,
            None => return false,
        };
        self.by_turn.remove(&turn);
        self.bytes -= answer.cost_bytes(key.len());
        true
    }

    fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_turn.values().next().cloned();
        oldest.map_or(false, |key| self.remove(&key))
    }
}

/// What is kept of the answers of some tenants.
#[derive(Debug)]
pub(super) struct Tenants {
    max_bytes: usize,
    max_tenant_bytes: usize,
    tenants: HashMap<Arc<[u8]>, Tenant>,
    /// Those who take most stand last.
    by_bytes: BTreeSet<(usize, Arc<[u8]>)>,
    bytes: usize,
    next_turn: u64,
    /// From when on an answer must have been asked for, to be kept: since the paths of its place were last written.
    keeps_from_ns: Vec<u64>,
    /// Whether a change has begun and not ended.
    is_changing: bool,
}

impl Tenants {
    pub(super) fn new(max_bytes: usize, max_tenant_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_tenant_bytes,
            tenants: HashMap::new(),
            by_bytes: BTreeSet::new(),
            bytes: 0,
            next_turn: 0,
            keeps_from_ns: vec![0; WRITE_PLACES],
            is_changing: false,
        }
    }

    /// Begins anew where a change has not ended.
    pub(super) fn recover(&mut self) {
        if self.is_changing {
            *self = Self::new(self.max_bytes, self.max_tenant_bytes);
        }
    }

    /// Says that what follows may be left half done.
    pub(super) fn begin_change(&mut self) {
        self.is_changing = true;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, tenant: &[u8], key: &AnswerKey) -> Option<Arc<Answer>> {
        if self.is_changing {
            return None;
        }
        let (_, answer) = self.tenants.get(tenant)?.answers.get(key.as_bytes())?;
        Some(answer.clone())
    }

    pub(super) fn store(&mut self, tenant: &[u8], key: &AnswerKey, answer: Answer) -> Outcome {
        let cost = answer.cost_bytes(key.as_bytes().len());
        let is_overtaken = answer.origin().since_ns < self.keeps_from_ns[write_place(tenant, key.path())];
        if is_overtaken {
            return Outcome::NotStored;
        }
        if cost + TENANT_BYTES > self.max_tenant_bytes {
            // What was kept before is not what the cell says any more.
            self.forget(tenant, key);
            return Outcome::NotStored;
        }
        self.begin_change();
        let turn = self.next_turn;
        self.next_turn += 1;
        let (max_bytes, max_tenant_bytes) = (self.max_bytes, self.max_tenant_bytes);
        let mut evicted = 0;
        self.with(tenant, true, |found| {
            found.remove(key.as_bytes());
            let key: Arc<[u8]> = key.as_bytes().into();
            found.by_turn.insert(turn, key.clone());
            found.answers.insert(key, (turn, Arc::new(answer)));
            found.bytes += cost;
            while found.bytes > max_tenant_bytes && found.remove_oldest() {
                evicted += 1;
            }
        });
        while self.bytes > max_bytes {
            // Whoever takes most gives, so that nobody's flood takes away what is kept of the others.
            let most = self.by_bytes.iter().next_back().map(|(_, tenant)| tenant.clone());
            match most {
                Some(most) => self.with(&most, false, |found| evicted += usize::from(found.remove_oldest())),
                None => break,
            }
        }
        self.is_changing = false;
        Outcome::Stored(evicted)
    }

    pub(super) fn forget(&mut self, tenant: &[u8], key: &AnswerKey) {
        self.begin_change();
        self.with(tenant, false, |found| {
            found.remove(key.as_bytes());
        });
        self.is_changing = false;
    }

    pub(super) fn forget_path(&mut self, tenant: &[u8], path: &[u8], now_ns: u64) {
        self.begin_change();
        self.keeps_from_ns[write_place(tenant, path)] = now_ns + 1;
        self.with(tenant, false, |found| {
            let behind = found.answers.range::<[u8], _>((Included(path), Unbounded));
            let of_path: Vec<_> = behind
                .map(|(key, _)| key)
                .take_while(|key| key.starts_with(path))
                .cloned()
                .collect();
            for key in of_path {
                found.remove(&key);
            }
        });
        self.is_changing = false;
    }

    /// Changes what is kept of a tenant, and what is known of its size. Who has nothing any more is forgotten.
    fn with(&mut self, tenant: &[u8], makes: bool, change: impl FnOnce(&mut Tenant)) {
        let (name, mut found) = match self.tenants.remove_entry(tenant) {
            Some(known) => known,
            None if makes => {
                self.bytes += TENANT_BYTES;
                let made = Tenant {
                    bytes: TENANT_BYTES,
                    ..Tenant::default()
                };
                (tenant.into(), made)
            }
            None => return,
        };
        let before = found.bytes;
        self.by_bytes.remove(&(before, name.clone()));
        change(&mut found);
        self.bytes = self.bytes - before + found.bytes;
        if found.answers.is_empty() {
            self.bytes -= found.bytes;
        } else {
            self.by_bytes.insert((found.bytes, name.clone()));
            self.tenants.insert(name, found);
        }
    }
}

fn write_place(tenant: &[u8], path: &[u8]) -> usize {
    let seed = xxh32_seeded(tenant, WRITE_SEED);
    xxh32_seeded(path, seed) as usize % WRITE_PLACES
}
