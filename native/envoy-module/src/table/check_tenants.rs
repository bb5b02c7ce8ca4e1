//! Checks every shard and tenant of a base or overlay once, so that look-ups need not.

use super::codes::TenantState;
use super::error::{below, TableError};
use super::fields::{tenant, GONE, NO_CELL, NO_SHARD};
use super::header::FileKind;
use super::integers::u32_at;
use super::tenants::{shard_of, Limits, Tenants};
use crate::key::is_key;
use crate::xxh32::xxh32;

const MAX_INDEX_BITS: u32 = 24;

/// Bits of a hash that do not choose its bucket in a TENANT_INDEX of so many entries.
pub(super) fn index_shift(entries: usize) -> Result<u32, TableError> {
    let buckets = entries.saturating_sub(1);
    if !buckets.is_power_of_two() || buckets.trailing_zeros() > MAX_INDEX_BITS {
        return Err(TableError::new(
            "TENANT_INDEX",
            "2^b + 1 entries, b of 0 to 24",
            entries,
        ));
    }
    Ok(u32::BITS - buckets.trailing_zeros())
}

/// A check of the sections that place tenants.
pub(super) struct TenantsCheck<'a> {
    file: &'a [u8],
    sections: &'a Tenants,
    kind: FileKind,
    limits: Limits,
}

impl<'a> TenantsCheck<'a> {
    pub(super) fn new(file: &'a [u8], sections: &'a Tenants, kind: FileKind, limits: Limits) -> Self {
        Self {
            file,
            sections,
            kind,
            limits,
        }
    }

    pub(super) fn check(&self) -> Result<(), TableError> {
        self.shards()?;
        self.tenants()
    }

    fn shards(&self) -> Result<(), TableError> {
        for (place, entry) in self.sections.shards.entries(self.file).enumerate() {
            let shard = shard_of(entry);
            let places = shard.places();
            let used = shard.cells().count();
            let (cells_of_shard, unused) = places.split_at(used);
            let gap = unused.iter().any(|cell| *cell != NO_CELL);
            let twice = (1..used).any(|later| places[..later].contains(&places[later]));
            if used == 0 || gap || twice {
                let expected = "1 to 8 distinct cells, then FFFF";
                let found = format!("{places:04X?}");
                return Err(TableError::new(format!("SHARDS[{place}]"), expected, found));
            }
            let limit = self.limits.cells;
            if let Some(cell) = cells_of_shard.iter().find(|cell| usize::from(**cell) >= limit) {
                return Err(TableError::new(format!("SHARDS[{place}]"), below(limit), cell));
            }
        }
        Ok(())
    }

    fn tenants(&self) -> Result<(), TableError> {
        let mut index = IndexCheck::new(self.file, self.sections);
        let mut before: Option<(u32, &[u8])> = None;
        for (place, entry) in self.sections.rows.entries(self.file).enumerate() {
            let key = self.sections.key(self.file, entry).filter(|key| is_key(key));
            let key = key.ok_or_else(|| {
                let (length, start) = (entry[tenant::KEY_LENGTH], u32_at(entry, tenant::KEY_OFFSET));
                let found = format!("{length} bytes at {start} of STRINGS");
                TableError::new(format!("TENANTS[{place}].key"), "a partition key in STRINGS", found)
            })?;
            let hash = u32_at(entry, tenant::HASH);
            let right_hash = xxh32(key);
            if hash != right_hash {
                let expected = format!("its key's, {right_hash:08x}");
                let found = format!("{hash:08x}");
                return Err(TableError::new(format!("TENANTS[{place}].hash"), expected, found));
            }
            if before >= Some((hash, key)) {
                let found = format!("hash {hash:08x} out of order, or its key twice");
                let expected = "entries sorted by (hash, key)";
                return Err(TableError::new(format!("TENANTS[{place}]"), expected, found));
            }
            before = Some((hash, key));
            self.tenant(place, entry)?;
            index.add(place, hash)?;
        }
        index.finish()
    }

    /// The fields that refer to other sections.
    fn tenant(&self, place: usize, entry: &[u8]) -> Result<(), TableError> {
        let error = |field: &str, expected: String, found: u32| {
            Err(TableError::new(format!("TENANTS[{place}].{field}"), expected, found))
        };
        let shards = self.sections.shards.count;
        let (shard, pool, state) = (u32_at(entry, tenant::SHARD), entry[tenant::POOL], entry[tenant::STATE]);
        if shard != NO_SHARD && shard as usize >= shards {
            return error("shard", format!("{} or FFFFFFFF", below(shards)), shard);
        }
        if usize::from(pool) >= self.limits.pools {
            return error("pool", below(self.limits.pools), pool.into());
        }
        let policy = entry[tenant::POLICY];
        if usize::from(policy) >= self.limits.policies {
            return error("policy", below(self.limits.policies), policy.into());
        }
        if self.kind == FileKind::Overlay && state == GONE {
            if shard != NO_SHARD {
                return error("shard", "FFFFFFFF of a key without an entry".to_owned(), shard);
            }
            for (field, value) in [("pool", pool), ("policy", policy)] {
                if value != 0 {
                    return error(field, "0 of a key without an entry".to_owned(), value.into());
                }
            }
        } else if TenantState::of(state).is_none() {
            return error("state", below(4), state.into());
        }
        Ok(())
    }
}

/// Follows TENANT_INDEX while the tenants pass by in the order of their hashes.
struct IndexCheck<'a> {
    starts: &'a [u8],
    shift: u32,
    /// The first bucket whose start is not yet known to be right.
    next: usize,
    buckets: usize,
    tenants: usize,
}

impl<'a> IndexCheck<'a> {
    fn new(file: &'a [u8], sections: &Tenants) -> Self {
        Self {
            starts: sections.index.bytes(file),
            shift: sections.index_shift,
            next: 0,
            buckets: sections.index.count - 1,
            tenants: sections.rows.count,
        }
    }

    /// All buckets up to that of `hash` that no tenant reached before begin at this tenant.
    fn add(&mut self, place: usize, hash: u32) -> Result<(), TableError> {
        let bucket = (u64::from(hash) >> self.shift) as usize;
        self.starts_at(place, bucket)
    }

    /// The buckets behind the last tenant, and the entry that closes the last bucket.
    fn finish(mut self) -> Result<(), TableError> {
        self.starts_at(self.tenants, self.buckets)
    }

    fn starts_at(&mut self, place: usize, last_bucket: usize) -> Result<(), TableError> {
        while self.next <= last_bucket {
            let start = u32_at(self.starts, self.next * std::mem::size_of::<u32>());
            if start as usize != place {
                return Err(TableError::new(format!("TENANT_INDEX[{}]", self.next), place, start));
            }
            self.next += 1;
        }
        Ok(())
    }
}
