//! Writes tables for tests: small, and as broken as a test wants them.

use cellplane_envoy::sha256::sha256;
use cellplane_envoy::xxh32::xxh32;

const HEADER_BYTES: usize = 128;
const CHECKSUM_AT: usize = 96;
const DIRECTORY_ENTRY_BYTES: usize = 32;
const ALIGNMENT: usize = 64;
const CRITICAL: u32 = 1;
const SLOTS_PER_POOL: u32 = 65_536;

/// A tenant of the table.
#[derive(Clone)]
pub struct TenantRow {
    pub key: Vec<u8>,
    pub shard: Option<u32>,
    pub pool: u8,
    pub state: u8,
    pub policy: u8,
}

impl TenantRow {
    pub fn new(key: &str, shard: Option<u32>, pool: u8, state: u8) -> Self {
        Self {
            key: key.into(),
            shard,
            pool,
            state,
            policy: 0,
        }
    }

    /// The same with a policy of its own.
    pub fn with_policy(self, policy: u8) -> Self {
        Self { policy, ..self }
    }
}

/// What routers do with requests, in the codes of the format.
#[derive(Clone)]
pub struct PolicyRow {
    pub writes: u8,
    pub reads: u8,
    pub balance: u8,
    pub mode: u8,
    pub priority: u8,
    pub copies: u8,
    pub standby: u16,
    pub shadow: u16,
    pub compare_bp: u16,
    pub ignored: &'static str,
    pub rps_milli: u32,
    pub burst_ms: u32,
    pub cache_s: u32,
}

impl Default for PolicyRow {
    fn default() -> Self {
        Self {
            writes: 0,
            reads: 0,
            balance: 0,
            mode: 0,
            priority: 0,
            copies: 0,
            standby: 0xFFFF,
            shadow: 0xFFFF,
            compare_bp: 0,
            ignored: "",
            rps_milli: 0,
            burst_ms: 1_000,
            cache_s: 0,
        }
    }
}

/// What a pool says about its requests: index of a policy, and its canary.
#[derive(Clone)]
pub struct PoolRow {
    pub policy: u16,
    pub canary_cell: u16,
    pub canary_bp: u16,
    pub canary_by: u8,
}

impl Default for PoolRow {
    fn default() -> Self {
        Self {
            policy: 0,
            canary_cell: 0xFFFF,
            canary_bp: 0,
            canary_by: 0,
        }
    }
}

/// What a cell says about its requests.
#[derive(Clone)]
pub struct CellRow {
    pub jurisdiction: &'static str,
    pub rps_milli: u32,
    pub public_url: &'static str,
    pub maintenance_page: &'static str,
    /// Of the table: 0 HTTP/1.1, 1 HTTP/2.
    pub protocol: u8,
}

impl Default for CellRow {
    fn default() -> Self {
        Self {
            jurisdiction: "eu",
            rps_milli: 0,
            public_url: "",
            maintenance_page: "",
            protocol: 0,
        }
    }
}

/// A pool's name, and the shard of each slot, where it has slots.
pub type Pool = (&'static str, Option<fn(u32) -> u32>);

/// Where a key may stand: the code of a kind, and a name.
#[derive(Clone)]
pub struct Source(pub u8, pub &'static str);

impl Source {
    pub fn header(name: &'static str) -> Self {
        Self(1, name)
    }

    pub fn claim(name: &'static str) -> Self {
        Self(4, name)
    }

    pub fn cookie(name: &'static str) -> Self {
        Self(5, name)
    }

    pub fn subdomain(name: &'static str) -> Self {
        Self(2, name)
    }

    pub fn path(name: &'static str) -> Self {
        Self(3, name)
    }
}

/// What a base says. All indexes and codes are those of the format.
#[derive(Clone)]
pub struct TableWriter {
    pub epoch: u64,
    pub key_sources: Vec<Source>,
    pub default_pool: u16,
    pub unknown_tenant: u8,
    pub missing_key: u8,
    pub default_shard: Option<u32>,
    pub retry_after_s: u32,
    pub fleet_policy: u16,
    pub fail_open: u8,
    /// Id and status.
    pub cells: Vec<(&'static str, u8)>,
    /// Of the first cells; the others say nothing.
    pub cell_rows: Vec<CellRow>,
    pub pools: Vec<Pool>,
    /// Of the first pools; the others have the first policy.
    pub pool_rows: Vec<PoolRow>,
    pub policies: Vec<PolicyRow>,
    pub shards: Vec<Vec<u16>>,
    pub tenants: Vec<TenantRow>,
    pub index_bits: u32,
    /// Bytes that a later minor version appends to each entry of the sections that may grow.
    pub appended_bytes: usize,
}

/// A section before it is in a file.
#[derive(Clone)]
pub struct SectionBytes {
    pub code: u32,
    pub flags: u32,
    pub entry_bytes: usize,
    pub bytes: Vec<u8>,
}

impl TableWriter {
    /// Four cells in two pools, a tenant of each kind; unknown keys go by their slot in the pool `shared`.
    pub fn sample() -> Self {
        Self {
            epoch: 17,
            key_sources: vec![Source::header("x-tenant-id")],
            default_pool: 1,
            unknown_tenant: 0,
            missing_key: 0,
            default_shard: None,
            retry_after_s: 3,
            fleet_policy: 0,
            fail_open: 0,
            cell_rows: vec![],
            pool_rows: vec![],
            policies: vec![PolicyRow::default()],
            cells: vec![("cell-1", 1), ("cell-2", 2), ("cell-3", 4), ("cell-4", 3)],
            pools: vec![("enterprise", Some(|_| 3)), ("shared", Some(|slot| slot % 3))],
            shards: vec![vec![0], vec![1], vec![2, 0], vec![3, 1, 0], vec![2]],
            tenants: vec![
                TenantRow::new("pinned", Some(3), 1, 0),
                TenantRow::new("moving", Some(0), 1, 1),
                TenantRow::new("suspended", None, 1, 2),
                TenantRow::new("quarantined", Some(1), 1, 3),
                TenantRow::new("enterprise", None, 0, 0),
                TenantRow::new("maintained", Some(4), 1, 0),
            ],
            index_bits: 2,
            appended_bytes: 0,
        }
    }

    /// The table as a file.
    pub fn encode(&self) -> Vec<u8> {
        assemble(&Identity::base(self.epoch), &self.sections())
    }

    /// All ten sections, in their order.
    pub fn sections(&self) -> Vec<SectionBytes> {
        let TenantSections {
            mut strings,
            shards,
            tenants,
            index,
        } = TenantSections::new(&self.shards, &self.tenants, self.index_bits, self.appended_bytes);
        let mut text = |row: &mut Vec<u8>, text: &str| {
            put_u32(row, strings.len() as u32);
            put_u32(row, text.len() as u32);
            strings.extend(text.as_bytes());
        };
        let fleet = self.rows(&[()], |row, _| {
            text(row, "tests");
            row.resize(16, 0);
            row.extend(self.default_pool.to_le_bytes());
            row.extend([self.unknown_tenant, self.missing_key]);
            put_u32(row, self.retry_after_s);
            put_u32(row, self.default_shard.unwrap_or(u32::MAX));
            row.extend(self.fleet_policy.to_le_bytes());
            row.push(self.fail_open);
            row.resize(64, 0);
        });
        let mut cell_rows = self.cell_rows.iter().cloned();
        let cells = self.rows(&self.cells, |row, (id, status)| {
            let cell = cell_rows.next().unwrap_or_default();
            for value in [id, "127.0.0.1", "eu-central", cell.jurisdiction] {
                text(row, value);
            }
            row.extend(8001u16.to_le_bytes());
            row.extend([*status, cell.protocol]);
            put_u32(row, 1000);
            put_u32(row, cell.rps_milli);
            put_u32(row, 0);
            text(row, cell.public_url);
            text(row, cell.maintenance_page);
        });
        let mut slots = Vec::new();
        let mut pool_rows = self.pool_rows.iter().cloned();
        let pools = self.rows(&self.pools, |row, (name, shard_of_slot)| {
            let pool = pool_rows.next().unwrap_or_default();
            text(row, name);
            put_u32(row, shard_of_slot.map_or(u32::MAX, |_| (slots.len() / 4) as u32));
            row.extend([1, 0]);
            for value in [pool.policy, pool.canary_cell, pool.canary_bp] {
                row.extend(value.to_le_bytes());
            }
            row.push(pool.canary_by);
            row.resize(32, 0);
            if let Some(shard_of_slot) = shard_of_slot {
                (0..SLOTS_PER_POOL).for_each(|slot| put_u32(&mut slots, shard_of_slot(slot)));
            }
        });
        let key_sources = self.rows(&self.key_sources, |row, Source(kind, name)| {
            text(row, name);
            row.push(*kind);
            row.resize(16, 0);
        });
        let policies = self.rows(&self.policies, |row, policy| {
            row.extend([
                policy.writes,
                policy.reads,
                policy.balance,
                policy.mode,
                policy.priority,
                policy.copies,
            ]);
            row.extend(policy.standby.to_le_bytes());
            row.extend(policy.shadow.to_le_bytes());
            row.extend(policy.compare_bp.to_le_bytes());
            put_u32(row, policy.rps_milli);
            put_u32(row, policy.burst_ms);
            text(row, policy.ignored);
            put_u32(row, policy.cache_s);
        });
        let sections = [
            (1, 1, 0, strings),
            (2, 64, self.appended_bytes, fleet),
            (3, 64, self.appended_bytes, cells),
            (4, 32, self.appended_bytes, pools),
            (5, 4, 0, slots),
            (6, 16, self.appended_bytes, shards),
            (7, 16, self.appended_bytes, tenants),
            (8, 4, 0, index),
            (9, 16, self.appended_bytes, key_sources),
            (11, 32, self.appended_bytes, policies),
        ];
        sections
            .into_iter()
            .map(|(code, entry_bytes, appended, bytes)| critical(code, entry_bytes + appended, bytes))
            .collect()
    }

    fn rows<T>(&self, values: &[T], write: impl FnMut(&mut Vec<u8>, &T)) -> Vec<u8> {
        rows(self.appended_bytes, values, write)
    }
}

/// What an overlay says. Its shards are its own, its cells and pools those of the base.
#[derive(Clone)]
pub struct OverlayWriter {
    pub epoch: u64,
    pub base_epoch: u64,
    pub base_sha256: [u8; 32],
    pub shards: Vec<Vec<u16>>,
    pub tenants: Vec<TenantRow>,
    pub index_bits: u32,
    pub appended_bytes: usize,
}

impl OverlayWriter {
    /// The state of a key without an entry.
    pub const GONE: u8 = 255;

    /// A change of each kind to the sample table: a tenant more, one elsewhere, one in another state, one less.
    pub fn sample(base: &[u8]) -> Self {
        Self {
            shards: vec![vec![1], vec![0, 3]],
            tenants: vec![
                TenantRow::new("arrived", Some(1), 0, 0),
                TenantRow::new("pinned", Some(0), 1, 0),
                TenantRow::new("suspended", None, 1, 0),
                TenantRow::new("enterprise", None, 0, Self::GONE),
            ],
            index_bits: 1,
            ..Self::empty(base)
        }
    }

    /// No change to this base.
    pub fn empty(base: &[u8]) -> Self {
        Self {
            epoch: 18,
            base_epoch: 17,
            base_sha256: base[CHECKSUM_AT..HEADER_BYTES].try_into().unwrap(),
            shards: vec![],
            tenants: vec![],
            index_bits: 0,
            appended_bytes: 0,
        }
    }

    /// The overlay as a file.
    pub fn encode(&self) -> Vec<u8> {
        assemble(&self.identity(), &self.sections())
    }

    pub fn identity(&self) -> Identity {
        Identity {
            kind: 2,
            epoch: self.epoch,
            base_epoch: self.base_epoch,
            base_sha256: self.base_sha256,
        }
    }

    /// All four sections, in their order.
    pub fn sections(&self) -> Vec<SectionBytes> {
        let TenantSections {
            strings,
            shards,
            tenants,
            index,
        } = TenantSections::new(&self.shards, &self.tenants, self.index_bits, self.appended_bytes);
        vec![
            critical(1, 1, strings),
            critical(6, 16 + self.appended_bytes, shards),
            critical(7, 16 + self.appended_bytes, tenants),
            critical(8, 4, index),
        ]
    }
}

/// The sections that bases and overlays have both. STRINGS holds the keys only.
struct TenantSections {
    strings: Vec<u8>,
    shards: Vec<u8>,
    tenants: Vec<u8>,
    index: Vec<u8>,
}

impl TenantSections {
    fn new(shards: &[Vec<u16>], tenants: &[TenantRow], index_bits: u32, appended_bytes: usize) -> Self {
        let mut sorted = tenants.to_vec();
        sorted.sort_by_key(|tenant| (xxh32(&tenant.key), tenant.key.clone()));
        let mut strings = Vec::new();
        let tenants = rows(appended_bytes, &sorted, |row, tenant| {
            put_u32(row, xxh32(&tenant.key));
            put_u32(row, strings.len() as u32);
            put_u32(row, tenant.shard.unwrap_or(u32::MAX));
            row.extend([tenant.key.len() as u8, tenant.pool, tenant.state, tenant.policy]);
            strings.extend(&tenant.key);
        });
        let shards = rows(appended_bytes, shards, |row, shard| {
            shard.iter().for_each(|cell| row.extend(cell.to_le_bytes()));
            row.resize(16, 0xFF);
        });
        let mut index = Vec::new();
        for bucket in 0..=1u64 << index_bits {
            let first_hash = bucket << (32 - index_bits);
            let before = |tenant: &&TenantRow| u64::from(xxh32(&tenant.key)) < first_hash;
            put_u32(&mut index, sorted.iter().take_while(before).count() as u32);
        }
        Self {
            strings,
            shards,
            tenants,
            index,
        }
    }
}

fn critical(code: u32, entry_bytes: usize, bytes: Vec<u8>) -> SectionBytes {
    SectionBytes {
        code,
        flags: CRITICAL,
        entry_bytes,
        bytes,
    }
}

fn rows<T>(appended_bytes: usize, values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut rows = Vec::new();
    for value in values {
        let mut row = Vec::new();
        write(&mut row, value);
        // What an old reader must stride over, not take for zeros.
        row.resize(row.len() + appended_bytes, 0xA5);
        rows.extend(row);
    }
    rows
}

/// What a header says of its file.
#[derive(Clone)]
pub struct Identity {
    pub kind: u32,
    pub epoch: u64,
    pub base_epoch: u64,
    pub base_sha256: [u8; 32],
}

impl Identity {
    pub fn base(epoch: u64) -> Self {
        Self {
            kind: 1,
            epoch,
            base_epoch: 0,
            base_sha256: [0; 32],
        }
    }
}

/// A file of these sections.
pub fn assemble(identity: &Identity, sections: &[SectionBytes]) -> Vec<u8> {
    let mut file = vec![0; HEADER_BYTES + DIRECTORY_ENTRY_BYTES * sections.len()];
    pad(&mut file);
    for (place, section) in sections.iter().enumerate() {
        let mut entry = Vec::new();
        put_u32(&mut entry, section.code);
        put_u32(&mut entry, section.flags);
        entry.extend((file.len() as u64).to_le_bytes());
        entry.extend((section.bytes.len() as u64).to_le_bytes());
        put_u32(&mut entry, section.entry_bytes as u32);
        put_u32(&mut entry, (section.bytes.len() / section.entry_bytes) as u32);
        let at = HEADER_BYTES + place * DIRECTORY_ENTRY_BYTES;
        file[at..at + DIRECTORY_ENTRY_BYTES].copy_from_slice(&entry);
        file.extend(&section.bytes);
        pad(&mut file);
    }
    file[..8].copy_from_slice(b"\x89CPT\r\n\x1a\n");
    file[8] = 1;
    file[12..16].copy_from_slice(&identity.kind.to_le_bytes());
    file[16..24].copy_from_slice(&identity.epoch.to_le_bytes());
    file[24..32].copy_from_slice(&identity.base_epoch.to_le_bytes());
    file[48..80].copy_from_slice(&identity.base_sha256);
    let length = file.len() as u64;
    file[32..40].copy_from_slice(&length.to_le_bytes());
    file[40] = sections.len() as u8;
    seal(&mut file);
    file
}

/// Mends the checksum of a file that a test has changed.
pub fn seal(file: &mut [u8]) {
    if file.len() >= HEADER_BYTES {
        let checksum = sha256([&file[..CHECKSUM_AT], &file[HEADER_BYTES..]]);
        file[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum);
    }
}

/// Where the section that stands at `place` of the directory begins in the file.
pub fn section_offset(file: &[u8], place: usize) -> usize {
    let at = HEADER_BYTES + place * DIRECTORY_ENTRY_BYTES + 8;
    let mut offset = [0; 8];
    offset.copy_from_slice(&file[at..at + 8]);
    u64::from_le_bytes(offset) as usize
}

fn pad(file: &mut Vec<u8>) {
    file.resize((file.len() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, 0);
}

fn put_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend(value.to_le_bytes());
}
