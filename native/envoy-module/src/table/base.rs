//! A base, read in place.

use super::check_base::{check_base, BaseSections};
use super::codes::{CellStatus, MissingKey, UnknownTenant};
use super::directory::{code, read_directory};
use super::error::TableError;
use super::fields::{cell, policy, pool, NO_SLOTS};
use super::header::{read_header, verify_checksum, FileKind, Header};
use super::integers::{u16_at, u32_at};
use super::key_sources::{read_key_sources, KeySource, KeySourceKind};
use super::policies::{canary_of, read_policies, Canary, Policy};
use super::strings::bytes_at;
use super::tenants::{Limits, Lookup, Shard, Tenants};
use crate::sha256::DIGEST_BYTES;

/// What a fleet says about all requests.
#[derive(Clone, Copy, Debug)]
pub struct FleetPolicy {
    /// Pool of the tenants without an entry.
    pub default_pool: u8,
    /// What a key without an entry gets.
    pub unknown_tenant: UnknownTenant,
    /// What a request without a key gets.
    pub missing_key: MissingKey,
    /// The default shard, where one of the two needs it.
    pub default_shard: Option<Shard>,
    /// The `Retry-After` of every 503.
    pub retry_after_s: u32,
    /// Index of the policy of the default shard.
    pub policy: u16,
    /// Whether a request without a key is let through also where it writes.
    pub fail_open: bool,
}

/// What a pool says about its requests.
#[derive(Clone, Copy, Debug)]
pub struct PoolPolicy {
    /// Index of its policy.
    pub policy: u16,
    /// Its canary.
    pub canary: Option<Canary>,
}

/// A checked base over the bytes of a file.
///
/// Indexes that it gives are in their range; those that it is given must come from it, or from an overlay on it.
#[derive(Debug)]
pub struct Base<B> {
    file: B,
    epoch: u64,
    sha256: [u8; DIGEST_BYTES],
    sections: BaseSections,
    tenants: Tenants,
    policy: FleetPolicy,
    key_sources: Vec<KeySource>,
    policies: Vec<Policy>,
}

impl<B: AsRef<[u8]>> Base<B> {
    /// Checks a file as a whole.
    ///
    /// # Errors
    ///
    /// The file is truncated, foreign, of another kind or version, corrupt or inconsistent.
    pub fn new(file: B) -> Result<Self, TableError> {
        let header = read_header(file.as_ref(), FileKind::Base)?;
        verify_checksum(file.as_ref(), &header)?;
        Self::new_behind_checksum(file, &header)
    }

    /// All that is checked behind the header and the checksum.
    pub(super) fn new_behind_checksum(file: B, header: &Header) -> Result<Self, TableError> {
        let bytes = file.as_ref();
        let directory = read_directory(bytes, header, FileKind::Base)?;
        let sections = BaseSections {
            strings: directory.get(code::STRINGS)?,
            fleet: directory.get(code::FLEET)?,
            cells: directory.get(code::CELLS)?,
            pools: directory.get(code::POOLS)?,
            slots: directory.get(code::SLOTS)?,
            shards: directory.get(code::SHARDS)?,
            policies: directory.get(code::POLICIES)?,
        };
        let key_sources = read_key_sources(bytes, sections.strings, directory.get(code::KEY_SOURCES)?)?;
        let policy = check_base(bytes, &sections)?;
        let policies = read_policies(bytes, sections.strings, sections.policies, sections.cells.count)?;
        let tenants = Tenants::new(bytes, &directory, FileKind::Base, sections.limits())?;
        Ok(Self {
            file,
            epoch: header.epoch,
            sha256: header.sha256,
            sections,
            tenants,
            policy,
            key_sources,
            policies,
        })
    }

    /// Version of this base.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the fleet says about all requests.
    pub fn policy(&self) -> &FleetPolicy {
        &self.policy
    }

    /// Where a request's partition key stands, in the order in which they are asked; 1 to 8.
    pub fn key_sources(&self) -> &[KeySource] {
        &self.key_sources
    }

    /// Whether a key may be a claim of a token.
    pub fn wants_token(&self) -> bool {
        self.key_sources
            .iter()
            .any(|source| source.kind == KeySourceKind::Claim)
    }

    /// Number of cells.
    pub fn cell_count(&self) -> usize {
        self.sections.cells.count
    }

    /// A cell's id: ASCII letters, digits and hyphens.
    pub fn cell_id(&self, cell: u16) -> &str {
        self.text(self.sections.cells.entry(self.file(), cell.into()), cell::ID)
    }

    /// A cell's status.
    pub fn cell_status(&self, cell: u16) -> CellStatus {
        let entry = self.sections.cells.entry(self.file(), cell.into());
        CellStatus::of(entry[cell::STATUS]).expect("a status was in its range when the table was checked")
    }

    /// A pool's name.
    pub fn pool_name(&self, pool: u8) -> &str {
        self.text(self.sections.pools.entry(self.file(), pool.into()), pool::NAME)
    }

    /// What routers do with requests, of everybody.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// What routers do with the requests of whoever names this index.
    pub fn policy_at(&self, index: u16) -> &Policy {
        &self.policies[usize::from(index)]
    }

    /// What is not compared of a shadow's answers, where a policy compares them: paths, one a line.
    pub fn ignored(&self, policy: u16) -> &str {
        self.text(
            self.sections.policies.entry(self.file(), policy.into()),
            policy::IGNORED,
        )
    }

    /// What a pool says about its requests.
    pub fn pool_policy(&self, pool: u8) -> PoolPolicy {
        let entry = self.sections.pools.entry(self.file(), pool.into());
        PoolPolicy {
            policy: u16_at(entry, pool::POLICY),
            canary: canary_of(entry),
        }
    }

    /// Whose law a cell is under.
    pub fn jurisdiction(&self, cell: u16) -> &str {
        self.text(self.cell_entry(cell), cell::JURISDICTION)
    }

    /// Where clients reach a cell; empty where they cannot.
    pub fn public_url(&self, cell: u16) -> &str {
        self.text(self.cell_entry(cell), cell::PUBLIC_URL)
    }

    /// What is said of a cell in maintenance; empty for the usual.
    pub fn maintenance_page(&self, cell: u16) -> &str {
        self.text(self.cell_entry(cell), cell::MAINTENANCE_PAGE)
    }

    /// Whether a cell is spoken to in HTTP/2.
    pub fn speaks_http2(&self, cell: u16) -> bool {
        self.cell_entry(cell)[cell::PROTOCOL] == 1
    }

    /// Requests that this router may send a cell, in 1,000 seconds; 0 for no limit.
    pub fn cell_rps_milli(&self, cell: u16) -> u32 {
        u32_at(self.cell_entry(cell), cell::RPS_MILLI)
    }

    fn cell_entry(&self, cell: u16) -> &[u8] {
        self.sections.cells.entry(self.file(), cell.into())
    }

    /// The shard of a pool's slot, or None where the pool has no slots.
    pub fn shard_of_slot(&self, pool: u8, slot: u16) -> Option<Shard> {
        let pool = self.sections.pools.entry(self.file(), pool.into());
        match u32_at(pool, pool::FIRST_SLOT) {
            NO_SLOTS => None,
            first_slot => {
                let place = first_slot as usize + usize::from(slot);
                let shard = u32_at(self.sections.slots.entry(self.file(), place), 0);
                Some(self.tenants.shard(self.file(), shard))
            }
        }
    }

    /// The checksum that names this base in its overlays.
    pub fn sha256(&self) -> &[u8; DIGEST_BYTES] {
        &self.sha256
    }

    /// How many cells and pools an overlay may name.
    pub(super) fn limits(&self) -> Limits {
        self.sections.limits()
    }

    pub(super) fn entry_count(&self) -> usize {
        self.tenants.rows.count
    }

    pub(super) fn find(&self, key: &[u8], hash: u32) -> Lookup {
        self.tenants.find(self.file(), key, hash)
    }

    fn file(&self) -> &[u8] {
        self.file.as_ref()
    }

    fn text(&self, entry: &[u8], offset: usize) -> &str {
        let bytes = bytes_at(self.sections.strings.bytes(self.file()), entry, offset);
        let text = bytes.map(std::str::from_utf8);
        text.and_then(Result::ok)
            .expect("all text was UTF-8 when the table was checked")
    }
}
