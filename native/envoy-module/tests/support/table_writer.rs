//! Writes tables for tests: small, and as broken as a test wants them.

use cellplane_envoy::sha256::sha256;
use cellplane_envoy::xxh32::xxh32;

const HEADER_BYTES: usize = 128;
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
}

impl TenantRow {
    pub fn new(key: &str, shard: Option<u32>, pool: u8, state: u8) -> Self {
        Self {
            key: key.into(),
            shard,
            pool,
            state,
        }
    }
}

/// A pool's name, and the shard of each slot.
pub type Pool = (&'static str, fn(u32) -> u32);

/// What a table says. All indexes and codes are those of the format.
#[derive(Clone)]
pub struct TableWriter {
    pub epoch: u64,
    pub key_header: &'static str,
    pub default_pool: u16,
    pub unknown_tenant: u8,
    pub retry_after_s: u32,
    /// Id and status.
    pub cells: Vec<(&'static str, u8)>,
    pub pools: Vec<Pool>,
    pub shards: Vec<Vec<u16>>,
    pub tenants: Vec<TenantRow>,
    pub index_bits: u32,
    /// Bytes that a later minor version appends to each entry of FLEET, CELLS, POOLS, SHARDS and TENANTS.
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
            key_header: "x-tenant-id",
            default_pool: 1,
            unknown_tenant: 0,
            retry_after_s: 3,
            cells: vec![("cell-1", 1), ("cell-2", 2), ("cell-3", 4), ("cell-4", 3)],
            pools: vec![("enterprise", |_| 3), ("shared", |slot| slot % 3)],
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
        assemble(self.epoch, &self.sections())
    }

    /// All eight sections, in their order.
    pub fn sections(&self) -> Vec<SectionBytes> {
        let mut strings = Vec::new();
        let mut tenants = self.tenants.clone();
        tenants.sort_by_key(|tenant| (xxh32(&tenant.key), tenant.key.clone()));
        let tenant_rows = self.rows(&tenants, |row, tenant| {
            put_u32(row, xxh32(&tenant.key));
            put_u32(row, strings.len() as u32);
            put_u32(row, tenant.shard.unwrap_or(u32::MAX));
            row.extend([tenant.key.len() as u8, tenant.pool, tenant.state, 0]);
            strings.extend(&tenant.key);
        });
        let mut text = |row: &mut Vec<u8>, text: &str| {
            put_u32(row, strings.len() as u32);
            put_u32(row, text.len() as u32);
            strings.extend(text.as_bytes());
        };
        let fleet = self.rows(&[()], |row, _| {
            text(row, "tests");
            text(row, self.key_header);
            row.extend(self.default_pool.to_le_bytes());
            row.extend([self.unknown_tenant, 0]);
            put_u32(row, self.retry_after_s);
            row.resize(64, 0);
        });
        let cells = self.rows(&self.cells, |row, (id, status)| {
            for value in [id, "127.0.0.1", "eu-central", "eu"] {
                text(row, value);
            }
            row.extend(8001u16.to_le_bytes());
            row.extend([*status, 0]);
            put_u32(row, 1000);
            row.resize(64, 0);
        });
        let mut first_slot = 0;
        let pools = self.rows(&self.pools, |row, (name, _)| {
            text(row, name);
            put_u32(row, first_slot);
            row.push(1);
            row.resize(32, 0);
            first_slot += SLOTS_PER_POOL;
        });
        let mut slots = Vec::new();
        for (_, shard_of_slot) in &self.pools {
            (0..SLOTS_PER_POOL).for_each(|slot| put_u32(&mut slots, shard_of_slot(slot)));
        }
        let shards = self.rows(&self.shards, |row, shard| {
            shard.iter().for_each(|cell| row.extend(cell.to_le_bytes()));
            row.resize(16, 0xFF);
        });
        let mut index = Vec::new();
        for bucket in 0..=1u64 << self.index_bits {
            let first_hash = bucket << (32 - self.index_bits);
            let first = tenants
                .iter()
                .take_while(|tenant| u64::from(xxh32(&tenant.key)) < first_hash)
                .count();
            put_u32(&mut index, first as u32);
        }
        let sections = [
            (1, 0, strings),
            (64, self.appended_bytes, fleet),
            (64, self.appended_bytes, cells),
            (32, self.appended_bytes, pools),
            (4, 0, slots),
            (16, self.appended_bytes, shards),
            (16, self.appended_bytes, tenant_rows),
            (4, 0, index),
        ];
        sections
            .into_iter()
            .zip(1..)
            .map(|((entry_bytes, appended, bytes), code)| SectionBytes {
                code,
                flags: CRITICAL,
                entry_bytes: entry_bytes + appended,
                bytes,
            })
            .collect()
    }

    fn rows<T>(&self, values: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) -> Vec<u8> {
        let mut rows = Vec::new();
        for value in values {
            let mut row = Vec::new();
            write(&mut row, value);
            // What an old reader must stride over, not take for zeros.
            row.resize(row.len() + self.appended_bytes, 0xA5);
            rows.extend(row);
        }
        rows
    }
}

/// A file of these sections.
pub fn assemble(epoch: u64, sections: &[SectionBytes]) -> Vec<u8> {
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
    file[12] = 1;
    file[16..24].copy_from_slice(&epoch.to_le_bytes());
    let length = file.len() as u64;
    file[32..40].copy_from_slice(&length.to_le_bytes());
    file[40] = sections.len() as u8;
    seal(&mut file);
    file
}

/// Mends the checksum of a file that a test has changed.
pub fn seal(file: &mut [u8]) {
    if file.len() >= HEADER_BYTES {
        let checksum = sha256(&[&file[..96], &file[HEADER_BYTES..]]);
        file[96..HEADER_BYTES].copy_from_slice(&checksum);
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
