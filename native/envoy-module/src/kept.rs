//! What the router keeps of cells' answers, for tenants whose policy says `reads: cache`: by tenant, bounded, in memory.
//!
//! Nobody waits for anything long. Whoever stores gives up where another worker has the tenant's shard; whoever looks up,
//! or has written, waits for one operation on it at most. A tenant lives in one shard and in a map of its own, so that
//! no key of one is ever compared with those of another.

mod answer;
mod asked;
mod directives;
mod tenants;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Head, Origin, MAX_BODY_BYTES};
pub use asked::{AnswerKey, Asked};

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, Weak};
use tenants::Tenants;

const SHARDS: usize = 16;
/// A tenant's part of its shard: so a sixty-fourth of all.
const TENANT_PART: usize = 4;
/// The part of all bytes that answers may take that have not come whole yet.
const COMING_PART: usize = 4;

/// What became of an answer that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is, and so many others had to go.
    Stored(usize),
    /// Another worker had the shard, something was written meanwhile, or it is too large.
    NotStored,
}

/// Answers of all tenants.
#[derive(Debug)]
pub struct Kept {
    total_bytes: usize,
    shards: Vec<RwLock<Tenants>>,
    /// Of each shard, for whoever counts.
    shard_bytes: Vec<AtomicUsize>,
    coming_bytes: AtomicUsize,
    hasher: RandomState,
}

/// The answers of this process, while a route uses them.
static KEPT: Mutex<Option<Weak<Kept>>> = Mutex::new(None);

impl Kept {
    /// Nothing yet, and at most so many bytes.
    pub fn new(total_bytes: usize) -> Self {
        let shard_bytes = (total_bytes - total_bytes / COMING_PART) / SHARDS;
        Self {
            total_bytes,
            shards: (0..SHARDS)
                .map(|_| RwLock::new(Tenants::new(shard_bytes, shard_bytes / TENANT_PART)))
                .collect(),
            shard_bytes: (0..SHARDS).map(|_| AtomicUsize::new(0)).collect(),
            coming_bytes: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Those of this process, with so many bytes; what was kept stays for as long as any route uses it.
    pub fn shared(total_bytes: usize) -> Arc<Self> {
        // What a panic leaves behind is a reference.
        let mut known = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known
            .as_ref()
            .and_then(Weak::upgrade)
            .filter(|kept| kept.total_bytes == total_bytes);
        same.unwrap_or_else(|| {
            let kept = Arc::new(Self::new(total_bytes));
            *known = Some(Arc::downgrade(&kept));
            kept
        })
    }

    /// The answer that a tenant's cell last gave to a request of this key.
    pub fn find(&self, tenant: &[u8], key: &AnswerKey) -> Option<Arc<Answer>> {
        self.read(self.place(tenant)).find(tenant, key)
    }

    /// Keeps an answer, in the place of the one before.
    pub fn store(&self, tenant: &[u8], key: &AnswerKey, answer: Answer) -> Outcome {
        let place = self.place(tenant);
        let mut shard = match self.shards[place].try_write() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(poisoned)) => recovered(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => return Outcome::NotStored,
        };
        let outcome = shard.store(tenant, key, answer);
        self.shard_bytes[place].store(shard.bytes(), Relaxed);
        outcome
    }

    /// Takes away what was kept of a request, since the cell has answered it otherwise.
    pub fn forget(&self, tenant: &[u8], key: &AnswerKey) {
        if self.find(tenant, key).is_some() {
            self.change(tenant, |shard| shard.forget(tenant, key));
        }
    }

    /// Takes away what was kept of a path, and what is still coming of it, since it was written (RFC 9111, 4.4).
    pub fn forget_path(&self, tenant: &[u8], key: &AnswerKey, now_ns: u64) {
        self.change(tenant, |shard| shard.forget_path(tenant, key.path(), now_ns));
    }

    /// Bytes that all answers take now.
    pub fn bytes(&self) -> usize {
        let kept: usize = self.shard_bytes.iter().map(|bytes| bytes.load(Relaxed)).sum();
        kept + self.coming_bytes.load(Relaxed)
    }

    fn change(&self, tenant: &[u8], change: impl FnOnce(&mut Tenants)) {
        let place = self.place(tenant);
        let mut shard = match self.shards[place].write() {
            Ok(shard) => shard,
            Err(poisoned) => recovered(poisoned.into_inner()),
        };
        change(&mut shard);
        self.shard_bytes[place].store(shard.bytes(), Relaxed);
    }

    fn read(&self, place: usize) -> RwLockReadGuard<'_, Tenants> {
        self.shards[place].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, tenant: &[u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        tenant.hash(&mut hasher);
        (hasher.finish() % SHARDS as u64) as usize
    }
}

/// A shard that a panic has left: begun anew where it was in the middle of a change.
fn recovered(mut shard: RwLockWriteGuard<'_, Tenants>) -> RwLockWriteGuard<'_, Tenants> {
    shard.recover();
    shard
}

/// Room for an answer that has not come whole yet, given back in the end.
#[derive(Debug)]
pub struct Room {
    kept: Arc<Kept>,
    bytes: usize,
}

impl Room {
    /// Room for so many bytes; None where there is none.
    pub fn take(kept: &Arc<Kept>, bytes: usize) -> Option<Self> {
        let mut room = Self {
            kept: kept.clone(),
            bytes: 0,
        };
        room.grow(bytes).then_some(room)
    }

    /// Takes so many more; false where there is no room for them.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let before = self.kept.coming_bytes.fetch_add(bytes, Relaxed);
        before + bytes <= self.kept.total_bytes / COMING_PART
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.kept.coming_bytes.fetch_sub(self.bytes, Relaxed);
    }
}
