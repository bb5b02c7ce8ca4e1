//! Checks every entry of a table once, so that look-ups need not.

use super::error::TableError;
use super::fields::{cell, fleet, pool, tenant, NO_CELL, NO_SHARD, STR_REF_LENGTH};
use super::integers::{u16_at, u32_at};
use super::layout::Sections;
use super::{shard_places, tenant_key, CellStatus, TenantState, SLOTS_PER_POOL};
use crate::key::is_key;
use crate::xxh32::xxh32;
use std::ops::RangeInclusive;

const MAX_CELLS: usize = 65_534;
const POOLS: RangeInclusive<usize> = 1..=255;
const MAX_INDEX_BITS: u32 = 24;
/// Longest cell id, in bytes: a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// Checks all sections against each other.
pub(super) fn check(file: &[u8], sections: &Sections) -> Result<(), TableError> {
    let checker = Checker { file, sections };
    checker.pools()?;
    checker.fleet()?;
    checker.cells()?;
    checker.slots()?;
    checker.shards()?;
    checker.tenants()
}

struct Checker<'a> {
    file: &'a [u8],
    sections: &'a Sections,
}

impl<'a> Checker<'a> {
    /// The text of a `StrRef` at `offset` of an entry.
    fn text(&self, entry: &[u8], offset: usize, place: impl Fn() -> String) -> Result<&'a str, TableError> {
        let start = u32_at(entry, offset) as usize;
        let length = u32_at(entry, offset + STR_REF_LENGTH) as usize;
        let strings = self.sections.strings.bytes(self.file);
        let bytes = strings.get(start..start + length).ok_or_else(|| {
            let expected = format!("text inside the {} bytes of STRINGS", strings.len());
            TableError::new(place(), expected, format!("{length} bytes at {start}"))
        })?;
        std::str::from_utf8(bytes).map_err(|error| TableError::new(place(), "UTF-8", error))
    }

    fn pools(&self) -> Result<(), TableError> {
        let Sections { pools, slots, .. } = self.sections;
        if !POOLS.contains(&pools.count) {
            return Err(TableError::new("POOLS", "1 to 255 entries", pools.count));
        }
        for (place, entry) in pools.entries(self.file).enumerate() {
            self.text(entry, pool::NAME, || format!("POOLS[{place}].name"))?;
            let first_slot = u32_at(entry, pool::FIRST_SLOT) as usize;
            if first_slot + SLOTS_PER_POOL > slots.count {
                let expected = format!("{SLOTS_PER_POOL} of the {} SLOTS from it on", slots.count);
                return Err(TableError::new(
                    format!("POOLS[{place}].first_slot"),
                    expected,
                    first_slot,
                ));
            }
        }
        Ok(())
    }

    fn fleet(&self) -> Result<(), TableError> {
        let Sections { fleet, pools, .. } = self.sections;
        if fleet.count != 1 {
            return Err(TableError::new("FLEET", "1 entry", fleet.count));
        }
        let entry = fleet.entry(self.file, 0);
        self.text(entry, fleet::NAME, || "FLEET.name".to_owned())?;
        self.text(entry, fleet::KEY_HEADER, || "FLEET.key_header".to_owned())?;
        let default_pool = u16_at(entry, fleet::DEFAULT_POOL);
        if usize::from(default_pool) >= pools.count {
            return Err(TableError::new("FLEET.default_pool", below(pools.count), default_pool));
        }
        let unknown_tenant = entry[fleet::UNKNOWN_TENANT];
        if unknown_tenant > 1 {
            return Err(TableError::new("FLEET.unknown_tenant", "0 or 1", unknown_tenant));
        }
        Ok(())
    }

    fn cells(&self) -> Result<(), TableError> {
        let cells = self.sections.cells;
        if cells.count > MAX_CELLS {
            return Err(TableError::new(
                "CELLS",
                format!("at most {MAX_CELLS} entries"),
                cells.count,
            ));
        }
        let mut id_before = "";
        for (place, entry) in cells.entries(self.file).enumerate() {
            let id = self.text(entry, cell::ID, || format!("CELLS[{place}].id"))?;
            if !is_name(id) {
                let expected = "1 to 63 lower-case letters, digits and inner hyphens";
                return Err(TableError::new(
                    format!("CELLS[{place}].id"),
                    expected,
                    format!("{id:?}"),
                ));
            }
            if id <= id_before {
                let expected = format!("an id behind {id_before:?}");
                return Err(TableError::new(
                    format!("CELLS[{place}].id"),
                    expected,
                    format!("{id:?}"),
                ));
            }
            id_before = id;
            for (name, offset) in [
                ("address", cell::ADDRESS),
                ("region", cell::REGION),
                ("jurisdiction", cell::JURISDICTION),
            ] {
                self.text(entry, offset, || format!("CELLS[{place}].{name}"))?;
            }
            if u16_at(entry, cell::PORT) == 0 {
                return Err(TableError::new(format!("CELLS[{place}].port"), "1 to 65535", 0));
            }
            if CellStatus::of(entry[cell::STATUS]).is_none() {
                return Err(TableError::new(
                    format!("CELLS[{place}].status"),
                    below(6),
                    entry[cell::STATUS],
                ));
            }
        }
        Ok(())
    }

    fn slots(&self) -> Result<(), TableError> {
        let shards = self.sections.shards.count;
        for (place, entry) in self.sections.slots.entries(self.file).enumerate() {
            let shard = u32_at(entry, 0);
            if shard as usize >= shards {
                return Err(TableError::new(format!("SLOTS[{place}]"), below(shards), shard));
            }
        }
        Ok(())
    }

    fn shards(&self) -> Result<(), TableError> {
        let cells = self.sections.cells.count;
        for (place, entry) in self.sections.shards.entries(self.file).enumerate() {
            let places = shard_places(entry);
            let used = places.iter().take_while(|cell| **cell != NO_CELL).count();
            let (cells_of_shard, unused) = places.split_at(used);
            let gap = unused.iter().any(|cell| *cell != NO_CELL);
            let twice = (1..used).any(|later| places[..later].contains(&places[later]));
            if used == 0 || gap || twice {
                let expected = "1 to 8 distinct cells, then FFFF";
                return Err(TableError::new(
                    format!("SHARDS[{place}]"),
                    expected,
                    format!("{places:04X?}"),
                ));
            }
            if let Some(cell) = cells_of_shard.iter().find(|cell| usize::from(**cell) >= cells) {
                return Err(TableError::new(format!("SHARDS[{place}]"), below(cells), cell));
            }
        }
        Ok(())
    }

    fn tenants(&self) -> Result<(), TableError> {
        let mut index = IndexCheck::new(self.file, self.sections)?;
        let strings = self.sections.strings.bytes(self.file);
        let mut before: Option<(u32, &[u8])> = None;
        for (place, entry) in self.sections.tenants.entries(self.file).enumerate() {
            let key = tenant_key(strings, entry).filter(|key| is_key(key)).ok_or_else(|| {
                let found = format!(
                    "{} bytes at {} of STRINGS",
                    entry[tenant::KEY_LENGTH],
                    u32_at(entry, tenant::KEY_OFFSET)
                );
                TableError::new(format!("TENANTS[{place}].key"), "a partition key in STRINGS", found)
            })?;
            let hash = u32_at(entry, tenant::HASH);
            if hash != xxh32(key) {
                let expected = format!("its key's, {:08x}", xxh32(key));
                return Err(TableError::new(
                    format!("TENANTS[{place}].hash"),
                    expected,
                    format!("{hash:08x}"),
                ));
            }
            if before >= Some((hash, key)) {
                let found = format!("hash {hash:08x} out of order, or its key twice");
                return Err(TableError::new(
                    format!("TENANTS[{place}]"),
                    "entries sorted by (hash, key)",
                    found,
                ));
            }
            before = Some((hash, key));
            self.tenant(place, entry)?;
            index.add(place, hash)?;
        }
        index.finish()
    }

    /// The fields that refer to other sections.
    fn tenant(&self, place: usize, entry: &[u8]) -> Result<(), TableError> {
        let Sections { pools, shards, .. } = self.sections;
        let shard = u32_at(entry, tenant::SHARD);
        if shard != NO_SHARD && shard as usize >= shards.count {
            let expected = format!("{} or FFFFFFFF", below(shards.count));
            return Err(TableError::new(format!("TENANTS[{place}].shard"), expected, shard));
        }
        let pool = entry[tenant::POOL];
        if usize::from(pool) >= pools.count {
            return Err(TableError::new(
                format!("TENANTS[{place}].pool"),
                below(pools.count),
                pool,
            ));
        }
        let state = entry[tenant::STATE];
        if TenantState::of(state).is_none() {
            return Err(TableError::new(format!("TENANTS[{place}].state"), below(4), state));
        }
        Ok(())
    }
}

/// Follows TENANT_INDEX while the tenants pass by in the order of their hashes.
struct IndexCheck<'a> {
    starts: &'a [u8],
    buckets: usize,
    shift: u32,
    /// The first bucket whose start is not yet known to be right.
    next: usize,
    tenants: usize,
}

impl<'a> IndexCheck<'a> {
    fn new(file: &'a [u8], sections: &Sections) -> Result<Self, TableError> {
        let entries = sections.tenant_index.count;
        let buckets = entries.saturating_sub(1);
        if !buckets.is_power_of_two() || buckets.trailing_zeros() > MAX_INDEX_BITS {
            return Err(TableError::new(
                "TENANT_INDEX",
                "2^b + 1 entries, b of 0 to 24",
                entries,
            ));
        }
        Ok(Self {
            starts: sections.tenant_index.bytes(file),
            buckets,
            shift: u32::BITS - buckets.trailing_zeros(),
            next: 0,
            tenants: sections.tenants.count,
        })
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

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            let inner = bytes.iter().all(|byte| plain(byte) || *byte == b'-');
            bytes.len() <= MAX_NAME_BYTES && plain(first) && plain(last) && inner
        }
        _ => false,
    }
}

fn below(limit: usize) -> String {
    format!("less than {limit}")
}
