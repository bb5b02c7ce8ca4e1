//! What the codes in a table mean.

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
    pub(super) fn of(code: u8) -> Option<Self> {
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
    pub(super) fn of(code: u8) -> Option<Self> {
        use TenantState::*;
        [Active, Moving, Suspended, Quarantined].get(usize::from(code)).copied()
    }
}

/// What a key without an entry gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownTenant {
    /// Its slot in the default pool.
    Slot,
    /// A refusal.
    Refused,
    /// The default shard.
    DefaultShard,
}

impl UnknownTenant {
    pub(super) fn of(code: u8) -> Option<Self> {
        use UnknownTenant::*;
        [Slot, Refused, DefaultShard].get(usize::from(code)).copied()
    }
}

/// What a request without a key gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// A refusal.
    Refused,
    /// The default shard.
    DefaultShard,
    /// The slot of the client's address in the default pool.
    Source,
}

impl MissingKey {
    pub(super) fn of(code: u8) -> Option<Self> {
        use MissingKey::*;
        [Refused, DefaultShard, Source].get(usize::from(code)).copied()
    }
}
