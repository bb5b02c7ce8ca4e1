//! Checks the sections that only bases have, so that look-ups need not.

use super::base::FleetPolicy;
use super::codes::{CellStatus, MissingKey, UnknownTenant};
use super::directory::Section;
use super::error::{below, TableError};
use super::fields::{cell, fleet, pool, NO_SHARD, NO_SLOTS};
use super::integers::{u16_at, u32_at};
use super::policies::check_canary;
use super::strings::{is_label, is_page, is_public_url, text_at};
use super::tenants::{shard_of, Limits};
use super::SLOTS_PER_POOL;
use std::ops::RangeInclusive;

const CELLS: RangeInclusive<usize> = 1..=65_534;
const POOLS: RangeInclusive<usize> = 1..=255;

/// The sections of a base that others do not have, and what they refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseSections {
    pub(super) strings: Section,
    pub(super) fleet: Section,
    pub(super) cells: Section,
    pub(super) pools: Section,
    pub(super) slots: Section,
    pub(super) shards: Section,
    pub(super) policies: Section,
}

impl BaseSections {
    /// How many cells and pools there are to name.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            cells: self.cells.count,
            pools: self.pools.count,
            policies: self.policies.count,
        }
    }
}

/// Checks them, but for the shards. Gives what the fleet says.
pub(super) fn check_base(file: &[u8], sections: &BaseSections) -> Result<FleetPolicy, TableError> {
    let checker = Checker { file, sections };
    checker.pools()?;
    checker.cells()?;
    checker.slots()?;
    checker.fleet()
}

struct Checker<'a> {
    file: &'a [u8],
    sections: &'a BaseSections,
}

impl<'a> Checker<'a> {
    fn text(&self, entry: &[u8], offset: usize, place: impl Fn() -> String) -> Result<&'a str, TableError> {
        text_at(self.sections.strings.bytes(self.file), entry, offset, place)
    }

    fn pools(&self) -> Result<(), TableError> {
        let BaseSections { pools, slots, .. } = self.sections;
        if !POOLS.contains(&pools.count) {
            return Err(TableError::new("POOLS", "1 to 255 entries", pools.count));
        }
        for (place, entry) in pools.entries(self.file).enumerate() {
            self.text(entry, pool::NAME, || format!("POOLS[{place}].name"))?;
            let first_slot = u32_at(entry, pool::FIRST_SLOT);
            if first_slot != NO_SLOTS && first_slot as usize + SLOTS_PER_POOL > slots.count {
                let expected = format!("{SLOTS_PER_POOL} of the {} SLOTS from it on, or FFFFFFFF", slots.count);
                let field = format!("POOLS[{place}].first_slot");
                return Err(TableError::new(field, expected, first_slot));
            }
            let policy = u16_at(entry, pool::POLICY);
            if usize::from(policy) >= self.sections.policies.count {
                let expected = below(self.sections.policies.count);
                return Err(TableError::new(format!("POOLS[{place}].policy"), expected, policy));
            }
            check_canary(entry, place, self.sections.cells.count)?;
        }
        Ok(())
    }

    fn cells(&self) -> Result<(), TableError> {
        let cells = self.sections.cells;
        if !CELLS.contains(&cells.count) {
            return Err(TableError::new("CELLS", "1 to 65534 entries", cells.count));
        }
        let mut id_before = "";
        for (place, entry) in cells.entries(self.file).enumerate() {
            let error = |field: &str, expected: &str, found: String| {
                Err(TableError::new(format!("CELLS[{place}].{field}"), expected, found))
            };
            let id = self.text(entry, cell::ID, || format!("CELLS[{place}].id"))?;
            if !is_label(id) {
                let expected = "1 to 63 lower-case letters, digits and inner hyphens";
                return error("id", expected, format!("{id:?}"));
            }
            if id <= id_before {
                return error("id", &format!("an id behind {id_before:?}"), format!("{id:?}"));
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
                return error("port", "1 to 65535", "0".to_owned());
            }
            if CellStatus::of(entry[cell::STATUS]).is_none() {
                return error("status", &below(6), entry[cell::STATUS].to_string());
            }
            let url = self.text(entry, cell::PUBLIC_URL, || format!("CELLS[{place}].public_url"))?;
            if !url.is_empty() && !is_public_url(url) {
                return error("public_url", "https:// or http://, and a host", format!("{url:?}"));
            }
            let page = self.text(entry, cell::MAINTENANCE_PAGE, || {
                format!("CELLS[{place}].maintenance_page")
            })?;
            if !is_page(page) {
                let expected = "at most 8000 bytes without control characters";
                return error("maintenance_page", expected, format!("{} bytes", page.len()));
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

    fn fleet(&self) -> Result<FleetPolicy, TableError> {
        let BaseSections { fleet, pools, .. } = self.sections;
        if fleet.count != 1 {
            return Err(TableError::new("FLEET", "1 entry", fleet.count));
        }
        let entry = fleet.entry(self.file, 0);
        self.text(entry, fleet::NAME, || "FLEET.name".to_owned())?;
        let default_pool = u16_at(entry, fleet::DEFAULT_POOL);
        if usize::from(default_pool) >= pools.count {
            return Err(TableError::new("FLEET.default_pool", below(pools.count), default_pool));
        }
        let code = entry[fleet::UNKNOWN_TENANT];
        let unknown_tenant =
            UnknownTenant::of(code).ok_or_else(|| TableError::new("FLEET.unknown_tenant", "0 to 2", code))?;
        let code = entry[fleet::MISSING_KEY];
        let missing_key = MissingKey::of(code).ok_or_else(|| TableError::new("FLEET.missing_key", "0 to 2", code))?;
        let default_pool_entry = pools.entry(self.file, default_pool.into());
        let needs_slots = unknown_tenant == UnknownTenant::Slot || missing_key == MissingKey::Source;
        if needs_slots && u32_at(default_pool_entry, pool::FIRST_SLOT) == NO_SLOTS {
            let expected = "a pool with slots, which unknown tenants or missing keys need";
            return Err(TableError::new("FLEET.default_pool", expected, default_pool));
        }
        let needs_shard = unknown_tenant == UnknownTenant::DefaultShard || missing_key == MissingKey::DefaultShard;
        let shards = self.sections.shards;
        let default_shard = u32_at(entry, fleet::DEFAULT_SHARD);
        let default_shard = match (needs_shard, default_shard) {
            (false, NO_SHARD) => None,
            (true, shard) if (shard as usize) < shards.count => Some(shard_of(shards.entry(self.file, shard as usize))),
            (true, shard) => return Err(TableError::new("FLEET.default_shard", below(shards.count), shard)),
            (false, shard) => {
                let expected = "FFFFFFFF, as nothing needs one";
                return Err(TableError::new("FLEET.default_shard", expected, shard));
            }
        };
        let policy = u16_at(entry, fleet::POLICY);
        if usize::from(policy) >= self.sections.policies.count {
            return Err(TableError::new(
                "FLEET.policy",
                below(self.sections.policies.count),
                policy,
            ));
        }
        let fail_open = match entry[fleet::FAIL_OPEN] {
            0 => false,
            1 => true,
            code => return Err(TableError::new("FLEET.fail_open", "0 or 1", code)),
        };
        Ok(FleetPolicy {
            // Less than the number of pools, which is at most 255.
            default_pool: default_pool as u8,
            unknown_tenant,
            missing_key,
            default_shard,
            retry_after_s: u32_at(entry, fleet::RETRY_AFTER_S),
            policy,
            fail_open,
        })
    }
}
