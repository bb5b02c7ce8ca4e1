//! A routing table, read in place (`docs/table-format.md`): all checks when it is opened, look-ups that copy nothing.

mod check;
mod error;
mod fields;
mod integers;
mod layout;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

pub use error::TableError;

use crate::xxh32::xxh32;
use fields::{cell, fleet, pool, tenant, NO_CELL, NO_SHARD, SHARD_PLACES, SHARD_PLACE_BYTES, STR_REF_LENGTH};
use integers::{u16_at, u32_at};
use layout::Sections;

/// Slots of a pool.
pub const SLOTS_PER_POOL: usize = 65_536;

/// Where a cell is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CellStatus {
    Provisioning,
    Active,
    Locked,
    Draining,
    Maintenance,
    Retired,
}

impl CellStatus {
    fn of(code: u8) -> Option<Self> {
        use CellStatus::*;
        [Provisioning, Active, Locked, Draining, Maintenance, Retired]
            .get(usize::from(code))
            .copied()
    }

    /// Whether a cell of this status takes requests.
    pub fn serves(self) -> bool {
        matches!(self, Self::Active | Self::Locked | Self::Draining)
    }
}

/// What a tenant's requests may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TenantState {
    Active,
    Moving,
    Suspended,
    Quarantined,
}

impl TenantState {
    fn of(code: u8) -> Option<Self> {
        use TenantState::*;
        [Active, Moving, Suspended, Quarantined].get(usize::from(code)).copied()
    }
}

/// A tenant's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The assigned shard, or None where the tenant's slot names it.
    pub shard: Option<u32>,
    /// Index of its pool.
    pub pool: u8,
    /// Its state.
    pub state: TenantState,
}

/// A checked table over the bytes of a file.
///
/// Indexes that it gives are in their range; those that it is given must come from it.
#[derive(Debug)]
pub struct Table<B> {
    file: B,
    epoch: u64,
    sections: Sections,
    /// Bits of a hash that do not choose its bucket in TENANT_INDEX.
    index_shift: u32,
}

impl<B: AsRef<[u8]>> Table<B> {
    /// Checks a file as a whole.
    ///
    /// # Errors
    ///
    /// The file is truncated, foreign, of another version, corrupt or inconsistent.
    pub fn new(file: B) -> Result<Self, TableError> {
        let epoch = layout::read_header(file.as_ref())?;
        layout::verify_checksum(file.as_ref())?;
        Self::new_behind_checksum(file, epoch)
    }

    /// All that is checked behind the header and the checksum.
    fn new_behind_checksum(file: B, epoch: u64) -> Result<Self, TableError> {
        let sections = layout::read_directory(file.as_ref())?;
        check::check(file.as_ref(), &sections)?;
        let buckets = sections.tenant_index.count - 1;
        Ok(Self {
            file,
            epoch,
            sections,
            index_shift: u32::BITS - buckets.trailing_zeros(),
        })
    }

    /// Version of this table.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Name of the request header that carries the partition key, in lower case.
    pub fn key_header(&self) -> &[u8] {
        self.bytes_at(self.fleet(), fleet::KEY_HEADER)
    }

    /// Pool of the tenants without an entry.
    pub fn default_pool(&self) -> u8 {
        // Checked to be less than the number of pools, which is at most 255.
        u16_at(self.fleet(), fleet::DEFAULT_POOL) as u8
    }

    /// Whether a key without an entry is refused.
    pub fn refuses_unknown_tenants(&self) -> bool {
        self.fleet()[fleet::UNKNOWN_TENANT] == 1
    }

    /// The `Retry-After` of every 503.
    pub fn retry_after_s(&self) -> u32 {
        u32_at(self.fleet(), fleet::RETRY_AFTER_S)
    }

    /// Number of cells.
    pub fn cell_count(&self) -> usize {
        self.sections.cells.count
    }

    /// Number of tenants with an entry of their own.
    pub fn tenant_count(&self) -> usize {
        self.sections.tenants.count
    }

    /// A cell's id: ASCII letters, digits and hyphens.
    pub fn cell_id(&self, cell: u16) -> &str {
        let id = self.bytes_at(self.sections.cells.entry(self.file(), cell.into()), cell::ID);
        std::str::from_utf8(id).expect("a cell id was ASCII when the table was checked")
    }

    /// A cell's status.
    pub fn cell_status(&self, cell: u16) -> CellStatus {
        let entry = self.sections.cells.entry(self.file(), cell.into());
        CellStatus::of(entry[cell::STATUS]).expect("a status was in its range when the table was checked")
    }

    /// A pool's name.
    pub fn pool_name(&self, pool: u8) -> &str {
        let name = self.bytes_at(self.sections.pools.entry(self.file(), pool.into()), pool::NAME);
        std::str::from_utf8(name).expect("a pool's name was UTF-8 when the table was checked")
    }

    /// The shard of a pool's slot.
    pub fn shard_of_slot(&self, pool: u8, slot: u16) -> u32 {
        let pool = self.sections.pools.entry(self.file(), pool.into());
        let place = u32_at(pool, pool::FIRST_SLOT) as usize + usize::from(slot);
        u32_at(self.sections.slots.entry(self.file(), place), 0)
    }

    /// The cells of a shard, the preferred first; at least one.
    pub fn shard(&self, shard: u32) -> impl Iterator<Item = u16> {
        let places = shard_places(self.sections.shards.entry(self.file(), shard as usize));
        places.into_iter().take_while(|cell| *cell != NO_CELL)
    }

    /// The entry of a key, whose hash the caller has computed.
    pub fn tenant(&self, key: &[u8], hash: u32) -> Option<Tenant> {
        debug_assert_eq!(hash, xxh32(key));
        let Sections {
            strings,
            tenants,
            tenant_index,
            ..
        } = &self.sections;
        let file = self.file();
        let strings = strings.bytes(file);
        let bucket = (u64::from(hash) >> self.index_shift) as usize;
        let first = u32_at(tenant_index.entry(file, bucket), 0);
        let end = u32_at(tenant_index.entry(file, bucket + 1), 0);
        (first..end)
            .map(|place| tenants.entry(file, place as usize))
            .find(|entry| u32_at(entry, tenant::HASH) == hash && tenant_key(strings, entry) == Some(key))
            .map(|entry| Tenant {
                shard: Some(u32_at(entry, tenant::SHARD)).filter(|shard| *shard != NO_SHARD),
                pool: entry[tenant::POOL],
                state: TenantState::of(entry[tenant::STATE])
                    .expect("a state was in its range when the table was checked"),
            })
    }

    fn file(&self) -> &[u8] {
        self.file.as_ref()
    }

    fn fleet(&self) -> &[u8] {
        self.sections.fleet.entry(self.file(), 0)
    }

    fn bytes_at(&self, entry: &[u8], str_ref: usize) -> &[u8] {
        let start = u32_at(entry, str_ref) as usize;
        let length = u32_at(entry, str_ref + STR_REF_LENGTH) as usize;
        &self.sections.strings.bytes(self.file())[start..start + length]
    }
}

/// The eight places of an entry of SHARDS.
fn shard_places(entry: &[u8]) -> [u16; SHARD_PLACES] {
    let mut places = [NO_CELL; SHARD_PLACES];
    for (place, cell) in places.iter_mut().enumerate() {
        *cell = u16_at(entry, place * SHARD_PLACE_BYTES);
    }
    places
}

/// The key of an entry of TENANTS, or None where it is outside of STRINGS.
fn tenant_key<'a>(strings: &'a [u8], entry: &[u8]) -> Option<&'a [u8]> {
    let start = u32_at(entry, tenant::KEY_OFFSET) as usize;
    strings.get(start..start + usize::from(entry[tenant::KEY_LENGTH]))
}
