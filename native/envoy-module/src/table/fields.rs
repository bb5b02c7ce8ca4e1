//! Offsets of the fields inside of an entry, and the values that mean something else than an index.

pub(super) mod fleet {
    pub(crate) const NAME: usize = 0;
    pub(crate) const DEFAULT_POOL: usize = 16;
    pub(crate) const UNKNOWN_TENANT: usize = 18;
    pub(crate) const MISSING_KEY: usize = 19;
    pub(crate) const RETRY_AFTER_S: usize = 20;
    pub(crate) const DEFAULT_SHARD: usize = 24;
    pub(crate) const POLICY: usize = 28;
    pub(crate) const FAIL_OPEN: usize = 30;
}

pub(super) mod cell {
    pub(crate) const ID: usize = 0;
    pub(crate) const ADDRESS: usize = 8;
    pub(crate) const REGION: usize = 16;
    pub(crate) const JURISDICTION: usize = 24;
    pub(crate) const PORT: usize = 32;
    pub(crate) const STATUS: usize = 34;
    pub(crate) const PROTOCOL: usize = 35;
    pub(crate) const RPS_MILLI: usize = 40;
    pub(crate) const PUBLIC_URL: usize = 48;
    pub(crate) const MAINTENANCE_PAGE: usize = 56;
}

pub(super) mod pool {
    pub(crate) const NAME: usize = 0;
    pub(crate) const FIRST_SLOT: usize = 8;
    pub(crate) const POLICY: usize = 14;
    pub(crate) const CANARY_CELL: usize = 16;
    pub(crate) const CANARY_BP: usize = 18;
    pub(crate) const CANARY_BY: usize = 20;
}

pub(super) mod key_source {
    pub(crate) const NAME: usize = 0;
    pub(crate) const KIND: usize = 8;
}

pub(super) mod tenant {
    pub(crate) const HASH: usize = 0;
    pub(crate) const KEY_OFFSET: usize = 4;
    pub(crate) const SHARD: usize = 8;
    pub(crate) const KEY_LENGTH: usize = 12;
    pub(crate) const POOL: usize = 13;
    pub(crate) const STATE: usize = 14;
    pub(crate) const POLICY: usize = 15;
}

pub(super) mod policy {
    pub(crate) const WRITES: usize = 0;
    pub(crate) const READS: usize = 1;
    pub(crate) const BALANCE: usize = 2;
    pub(crate) const MODE: usize = 3;
    pub(crate) const PRIORITY: usize = 4;
    pub(crate) const COPIES: usize = 5;
    pub(crate) const STANDBY: usize = 6;
    pub(crate) const SHADOW: usize = 8;
    pub(crate) const COMPARE_BP: usize = 10;
    pub(crate) const RPS_MILLI: usize = 12;
    pub(crate) const BURST_MS: usize = 16;
    pub(crate) const CACHE_S: usize = 28;
    pub(crate) const IGNORED: usize = 20;
}

/// Places in a shard, and the size of one.
pub(super) const SHARD_PLACES: usize = 8;
pub(super) const SHARD_PLACE_BYTES: usize = 2;

/// An unused place of a shard.
pub(super) const NO_CELL: u16 = 0xFFFF;

/// A tenant without an assignment, or a fleet without a default shard.
pub(super) const NO_SHARD: u32 = 0xFFFF_FFFF;

/// A pool without slots.
pub(super) const NO_SLOTS: u32 = 0xFFFF_FFFF;

/// The state of a key that has no entry any more: in overlays only.
pub(super) const GONE: u8 = 255;
