//! Tenants and shards: the sections that bases and overlays share, and the look-up in them.

use super::check_tenants::{index_shift, TenantsCheck};
use super::codes::TenantState;
use super::directory::{code, Section, Sections};
use super::error::TableError;
use super::fields::{tenant, GONE, NO_CELL, NO_SHARD, SHARD_PLACES, SHARD_PLACE_BYTES};
use super::header::FileKind;
use super::integers::{u16_at, u32_at};
use crate::xxh32::xxh32;

/// The cells of a shard, copied out of its table: 1 to 8, the preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard([u16; SHARD_PLACES]);

impl Shard {
    /// The preferred cell.
    pub fn first(&self) -> u16 {
        self.0[0]
    }

    /// Indexes of all its cells, in their order.
    pub fn cells(&self) -> impl Iterator<Item = u16> {
        self.0.into_iter().take_while(|cell| *cell != NO_CELL)
    }

    /// All eight places, used or not.
    pub(super) fn places(&self) -> &[u16; SHARD_PLACES] {
        &self.0
    }
}

/// A tenant's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The assigned shard, or None where the tenant's slot names it.
    pub shard: Option<Shard>,
    /// Index of its pool.
    pub pool: u8,
    /// Its state.
    pub state: TenantState,
    /// Index of its policy; 0 for its pool's.
    pub policy: u8,
}

/// What a file says about a key.
pub(super) enum Lookup {
    /// Nothing.
    Absent,
    /// It has no entry any more, whatever the base says.
    Gone,
    /// This is its entry.
    Found(Tenant),
}

/// How many cells and pools there are for shards and tenants to name.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) cells: usize,
    pub(super) pools: usize,
    pub(super) policies: usize,
}

/// The four sections of a file that place tenants, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenants {
    pub(super) strings: Section,
    pub(super) shards: Section,
    pub(super) rows: Section,
    pub(super) index: Section,
    /// Bits of a hash that do not choose its bucket in the index.
    pub(super) index_shift: u32,
}

impl Tenants {
    /// Reads and checks them.
    pub(super) fn new(file: &[u8], sections: &Sections, kind: FileKind, limits: Limits) -> Result<Self, TableError> {
        let index = sections.get(code::TENANT_INDEX)?;
        let tenants = Self {
            strings: sections.get(code::STRINGS)?,
            shards: sections.get(code::SHARDS)?,
            rows: sections.get(code::TENANTS)?,
            index,
            index_shift: index_shift(index.count)?,
        };
        TenantsCheck::new(file, &tenants, kind, limits).check()?;
        Ok(tenants)
    }

    /// What the file says about a key, whose hash the caller has computed.
    pub(super) fn find(&self, file: &[u8], key: &[u8], hash: u32) -> Lookup {
        debug_assert_eq!(hash, xxh32(key));
        let bucket = (u64::from(hash) >> self.index_shift) as usize;
        let first = u32_at(self.index.entry(file, bucket), 0);
        let end = u32_at(self.index.entry(file, bucket + 1), 0);
        let row = (first..end)
            .map(|place| self.rows.entry(file, place as usize))
            .find(|row| u32_at(row, tenant::HASH) == hash && self.key(file, row) == Some(key));
        match row {
            None => Lookup::Absent,
            Some(row) if row[tenant::STATE] == GONE => Lookup::Gone,
            Some(row) => Lookup::Found(self.tenant(file, row)),
        }
    }

    /// The shard at an index that was checked.
    pub(super) fn shard(&self, file: &[u8], index: u32) -> Shard {
        shard_of(self.shards.entry(file, index as usize))
    }

    /// The key of an entry, or None where it is outside of STRINGS.
    pub(super) fn key<'a>(&self, file: &'a [u8], row: &[u8]) -> Option<&'a [u8]> {
        let start = u32_at(row, tenant::KEY_OFFSET) as usize;
        let end = start + usize::from(row[tenant::KEY_LENGTH]);
        self.strings.bytes(file).get(start..end)
    }

    fn tenant(&self, file: &[u8], row: &[u8]) -> Tenant {
        let shard = u32_at(row, tenant::SHARD);
        Tenant {
            shard: (shard != NO_SHARD).then(|| self.shard(file, shard)),
            pool: row[tenant::POOL],
            policy: row[tenant::POLICY],
            state: TenantState::of(row[tenant::STATE]).expect("a state was in its range when the table was checked"),
        }
    }
}

/// An entry of SHARDS, checked or not.
pub(super) fn shard_of(entry: &[u8]) -> Shard {
    let mut places = [NO_CELL; SHARD_PLACES];
    for (place, cell) in places.iter_mut().enumerate() {
        *cell = u16_at(entry, place * SHARD_PLACE_BYTES);
    }
    Shard(places)
}
