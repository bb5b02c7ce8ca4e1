//! A routing table, read in place (`docs/table-format.md`): all checks when it is opened, look-ups that copy nothing.
//!
//! A table is a [`Base`], or a base and an overlay on it. The base is shared: one overlay comes after the other, and
//! each is checked alone.

mod base;
mod check_base;
mod check_tenants;
mod codes;
mod directory;
mod error;
mod fields;
mod header;
mod integers;
mod key_sources;
mod overlay;
mod policies;
mod strings;
mod tenants;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;

pub use base::{Base, FleetPolicy, PoolPolicy};
pub use codes::{CellStatus, MissingKey, TenantState, UnknownTenant};
pub use error::TableError;
pub use key_sources::{KeySource, KeySourceKind, MAX_KEY_SOURCES};
pub use policies::{Balance, Canary, CanaryBy, Policy, Reads, Writes};
pub use tenants::{Shard, Tenant};

use overlay::Overlay;
use std::sync::Arc;
use tenants::Lookup;

/// Slots of a pool.
pub const SLOTS_PER_POOL: usize = 65_536;

/// A checked table: a base, or a base and an overlay.
#[derive(Debug)]
pub struct Table<B> {
    base: Arc<Base<B>>,
    overlay: Option<Overlay<B>>,
}

impl<B: AsRef<[u8]>> Table<B> {
    /// The table that a base is by itself.
    pub fn new(base: Arc<Base<B>>) -> Self {
        Self { base, overlay: None }
    }

    /// A base with an overlay; the overlay's file is checked as a whole, the base not again.
    ///
    /// # Errors
    ///
    /// The overlay is truncated, foreign, of another kind, version or base, corrupt or inconsistent.
    pub fn with_overlay(base: Arc<Base<B>>, file: B) -> Result<Self, TableError> {
        let overlay = Some(Overlay::new(file, &base)?);
        Ok(Self { base, overlay })
    }

    /// The base: all but the tenants that the overlay changes.
    pub fn base(&self) -> &Base<B> {
        &self.base
    }

    /// Version of this table.
    pub fn epoch(&self) -> u64 {
        self.overlay.as_ref().map_or_else(|| self.base.epoch(), Overlay::epoch)
    }

    /// Entries of the base and of the overlay.
    pub fn entry_counts(&self) -> (usize, usize) {
        (
            self.base.entry_count(),
            self.overlay.as_ref().map_or(0, Overlay::entry_count),
        )
    }

    /// The entry of a key, whose hash the caller has computed.
    pub fn tenant(&self, key: &[u8], hash: u32) -> Option<Tenant> {
        let overlaid = self
            .overlay
            .as_ref()
            .map_or(Lookup::Absent, |overlay| overlay.find(key, hash));
        let lookup = match overlaid {
            Lookup::Absent => self.base.find(key, hash),
            found_or_gone => found_or_gone,
        };
        match lookup {
            Lookup::Found(tenant) => Some(tenant),
            Lookup::Gone | Lookup::Absent => None,
        }
    }
}
