//! What routers do with requests: the entries of POLICIES, and the canaries of pools.

use super::directory::Section;
use super::error::{below, TableError};
use super::fields::{policy, pool, NO_CELL};
use super::integers::{u16_at, u32_at};
use super::strings::text_at;
use std::ops::RangeInclusive;

const POLICIES: RangeInclusive<usize> = 1..=65_535;
const BURST_MS: RangeInclusive<u32> = 1..=3_600_000;
/// A week.
const CACHE_S: RangeInclusive<u32> = 1..=604_800;
/// All of the requests, in hundredths of a percent.
const ALL_BP: u16 = 10_000;

/// What a request that writes gets when its first cell is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Another cell of the shard.
    Shard,
    /// A refusal.
    Fail,
}

/// What a request that reads gets when its first cell is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Another cell of the shard.
    Shard,
    /// The standby.
    Standby(u16),
    /// What the router has kept of the cell's answers, no older than so many seconds.
    Cache(u32),
    /// A refusal.
    Fail,
}

/// How requests spread over a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The first cell takes them.
    Preferred,
    /// In turn.
    RoundRobin,
    /// To the one with the fewest under way.
    LeastLoaded,
}

/// An entry of POLICIES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// See there.
    pub writes: Writes,
    /// See there.
    pub reads: Reads,
    /// See there.
    pub balance: Balance,
    /// Whether clients are sent to the cell's own address.
    pub redirects: bool,
    /// Whether its requests are shed last.
    pub high_priority: bool,
    /// The cell that gets a copy of each request, or of those that read alone.
    pub shadow: Option<u16>,
    /// Whether it gets none of those that write; without a shadow it is not so.
    pub copies_reads_alone: bool,
    /// Its part of the requests of which both answers are compared, in hundredths of a percent; 0 without a shadow.
    pub compare_bp: u16,
    /// Requests of one tenant that this router lets through in 1,000 seconds; 0 for the cell's, divided by the shard.
    pub rps_milli: u32,
    /// How many milliseconds' worth of requests may come at once.
    pub burst_ms: u32,
}

/// What falls to a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryBy {
    /// Tenants, by a hash of their key.
    Tenant,
    /// Requests, by chance.
    Request,
}

/// A part of a pool's requests, and the cell that they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The cell.
    pub cell: u16,
    /// The part, in hundredths of a percent.
    pub bp: u16,
    /// See there.
    pub by: CanaryBy,
}

/// Reads and checks all policies.
pub(super) fn read_policies(
    file: &[u8],
    strings: Section,
    policies: Section,
    cells: usize,
) -> Result<Vec<Policy>, TableError> {
    if !POLICIES.contains(&policies.count) {
        return Err(TableError::new("POLICIES", "1 to 65535 entries", policies.count));
    }
    policies
        .entries(file)
        .enumerate()
        .map(|(place, entry)| {
            let field = |field: &str| format!("POLICIES[{place}].{field}");
            text_at(strings.bytes(file), entry, policy::IGNORED, || field("ignored"))?;
            read_policy(entry, cells, field)
        })
        .collect()
}

fn read_policy(entry: &[u8], cells: usize, place: impl Fn(&str) -> String) -> Result<Policy, TableError> {
    let wrong = |field: &str, expected: &str, found: u32| Err(TableError::new(place(field), expected, found));
    let code = |offset: usize| u32::from(entry[offset]);
    let writes = match code(policy::WRITES) {
        0 => Writes::Shard,
        1 => Writes::Fail,
        other => return wrong("writes", "0 or 1", other),
    };
    let standby = cell_at(entry, policy::STANDBY, cells, || place("standby"))?;
    let cache_s = u32_at(entry, policy::CACHE_S);
    let reads = match (code(policy::READS), standby) {
        (2, None) if CACHE_S.contains(&cache_s) => Reads::Cache(cache_s),
        (2, None) => return wrong("cache_s", "1 to 604800", cache_s),
        (0..=3, _) if cache_s != 0 => return wrong("cache_s", "0, as reads is not 2", cache_s),
        (0, None) => Reads::Shard,
        (1, Some(cell)) => Reads::Standby(cell),
        (3, None) => Reads::Fail,
        (1, None) => return wrong("standby", &below(cells), NO_CELL.into()),
        (0..=3, Some(cell)) => return wrong("standby", "FFFF, as reads is not 1", cell.into()),
        (other, _) => return wrong("reads", "0 to 3", other),
    };
    let balance = match code(policy::BALANCE) {
        0 => Balance::Preferred,
        1 => Balance::RoundRobin,
        2 => Balance::LeastLoaded,
        other => return wrong("balance", "0 to 2", other),
    };
    for (field, offset) in [
        ("mode", policy::MODE),
        ("priority", policy::PRIORITY),
        ("copies", policy::COPIES),
    ] {
        if code(offset) > 1 {
            return wrong(field, "0 or 1", code(offset));
        }
    }
    let burst_ms = u32_at(entry, policy::BURST_MS);
    if !BURST_MS.contains(&burst_ms) {
        return wrong("burst_ms", "1 to 3600000", burst_ms);
    }
    let shadow = cell_at(entry, policy::SHADOW, cells, || place("shadow"))?;
    let compare_bp = u16_at(entry, policy::COMPARE_BP);
    match shadow {
        None if compare_bp != 0 => return wrong("compare_bp", "0, as there is no shadow", compare_bp.into()),
        None if code(policy::COPIES) != 0 => return wrong("copies", "0, as there is no shadow", code(policy::COPIES)),
        _ if compare_bp > ALL_BP => return wrong("compare_bp", "0 to 10000", compare_bp.into()),
        _ => {}
    }
    Ok(Policy {
        writes,
        reads,
        balance,
        redirects: code(policy::MODE) == 1,
        high_priority: code(policy::PRIORITY) == 1,
        shadow,
        copies_reads_alone: code(policy::COPIES) == 1,
        compare_bp,
        rps_milli: u32_at(entry, policy::RPS_MILLI),
        burst_ms,
    })
}

/// Checks what a pool says about its canary.
pub(super) fn check_canary(entry: &[u8], place: usize, cells: usize) -> Result<(), TableError> {
    let field = |name: &str| format!("POOLS[{place}].{name}");
    let cell = cell_at(entry, pool::CANARY_CELL, cells, || field("canary_cell"))?;
    let (bp, by) = (u16_at(entry, pool::CANARY_BP), entry[pool::CANARY_BY]);
    match cell {
        None if bp != 0 => Err(TableError::new(field("canary_bp"), "0, as there is no canary", bp)),
        None if by != 0 => Err(TableError::new(field("canary_by"), "0, as there is no canary", by)),
        _ if bp > ALL_BP => Err(TableError::new(field("canary_bp"), "0 to 10000", bp)),
        _ if by > 1 => Err(TableError::new(field("canary_by"), "0 or 1", by)),
        _ => Ok(()),
    }
}

/// The canary of an entry of POOLS that was checked.
pub(super) fn canary_of(entry: &[u8]) -> Option<Canary> {
    let cell = u16_at(entry, pool::CANARY_CELL);
    (cell != NO_CELL).then(|| Canary {
        cell,
        bp: u16_at(entry, pool::CANARY_BP),
        by: if entry[pool::CANARY_BY] == 0 {
            CanaryBy::Tenant
        } else {
            CanaryBy::Request
        },
    })
}

/// The cell that a field names; None for none.
fn cell_at(
    entry: &[u8],
    offset: usize,
    cells: usize,
    place: impl FnOnce() -> String,
) -> Result<Option<u16>, TableError> {
    match u16_at(entry, offset) {
        NO_CELL => Ok(None),
        cell if usize::from(cell) < cells => Ok(Some(cell)),
        cell => Err(TableError::new(place(), format!("{}, or FFFF", below(cells)), cell)),
    }
}
