//! The decision: which cell gets a request. Pure, but for the health that it asks about.

use crate::key::PartitionKey;
use crate::problem::{Code, Refusal};
use crate::table::{CellStatus, Table, TenantState};
use crate::xxh32::xxh32;

/// What named the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The tenant's own entry.
    Assignment,
    /// The slot of its key.
    Slot,
}

/// A request goes to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the chosen cell.
    pub cell: u16,
    /// Index of the tenant's pool.
    pub pool: u8,
    /// The key's slot.
    pub slot: u16,
    /// What named the shard.
    pub reason: Reason,
}

/// Steps 2 to 5 of the decision; step 1 is [`crate::key::KeyValues::key`].
///
/// `has_healthy_host` is asked about the serving cells of the shard, in their order, until it says yes: the last cell
/// that it was asked about is the chosen one.
pub fn decide<B: AsRef<[u8]>>(
    table: &Table<B>,
    key: &PartitionKey,
    writes: bool,
    mut has_healthy_host: impl FnMut(u16) -> bool,
) -> Result<Route, Refusal> {
    let hash = xxh32(key.as_bytes());
    let slot = (hash & 0xFFFF) as u16;
    let tenant = table.tenant(key.as_bytes(), hash);
    if tenant.is_none() && table.refuses_unknown_tenants() {
        return Err(Code::UnknownTenant.into());
    }
    match tenant.map(|tenant| tenant.state) {
        Some(TenantState::Suspended) => return Err(Code::TenantSuspended.into()),
        Some(TenantState::Moving) if writes => return Err(Code::TenantMoving.into()),
        _ => {}
    }
    let pool = tenant.map_or_else(|| table.default_pool(), |tenant| tenant.pool);
    let (shard, reason) = match tenant.and_then(|tenant| tenant.shard) {
        Some(shard) => (shard, Reason::Assignment),
        None => (table.shard_of_slot(pool, slot), Reason::Slot),
    };
    let usable = |cell: &u16| table.cell_status(*cell).serves() && has_healthy_host(*cell);
    match table.shard(shard).find(usable) {
        Some(cell) => Ok(Route {
            cell,
            pool,
            slot,
            reason,
        }),
        None => Err(unavailable(table, shard)),
    }
}

fn unavailable<B: AsRef<[u8]>>(table: &Table<B>, shard: u32) -> Refusal {
    let first = table.shard(shard).next();
    let in_maintenance = first.map(|cell| table.cell_status(cell)) == Some(CellStatus::Maintenance);
    Refusal {
        code: if in_maintenance {
            Code::CellMaintenance
        } else {
            Code::CellUnavailable
        },
        cell: first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::TableWriter;

    const ALL_HEALTHY: fn(u16) -> bool = |_| true;

    fn table(change: impl FnOnce(&mut TableWriter)) -> Table<Vec<u8>> {
        let mut writer = TableWriter::sample();
        change(&mut writer);
        Table::new(writer.encode()).unwrap()
    }

    fn key(text: &str) -> PartitionKey {
        PartitionKey::new(text.as_bytes()).unwrap()
    }

    fn refusal(table: &Table<Vec<u8>>, text: &str, writes: bool) -> (Code, Option<u16>) {
        let refusal = decide(table, &key(text), writes, ALL_HEALTHY).unwrap_err();
        (refusal.code, refusal.cell)
    }

    #[test]
    fn an_assignment_overrides_the_slot() {
        let route = decide(&table(|_| {}), &key("pinned"), true, ALL_HEALTHY).unwrap();
        let slot = (xxh32(b"pinned") & 0xFFFF) as u16;
        assert_eq!(
            route,
            Route {
                cell: 3,
                pool: 1,
                slot,
                reason: Reason::Assignment
            }
        );
    }

    #[test]
    fn a_key_without_an_entry_goes_by_its_slot_in_the_default_pool() {
        let table = table(|_| {});
        for number in 0..300 {
            let text = format!("tenant-{number}");
            let slot = (xxh32(text.as_bytes()) & 0xFFFF) as u16;
            // The third shard prefers a cell in maintenance, and then the first.
            let cell = [0, 1, 0][usize::from(slot % 3)];
            let route = decide(&table, &key(&text), true, ALL_HEALTHY).unwrap();
            assert_eq!(
                route,
                Route {
                    cell,
                    pool: 1,
                    slot,
                    reason: Reason::Slot
                }
            );
        }
    }

    #[test]
    fn an_entry_without_an_assignment_goes_by_its_slot_in_its_pool() {
        let route = decide(&table(|_| {}), &key("enterprise"), true, ALL_HEALTHY).unwrap();
        assert_eq!((route.cell, route.pool, route.reason), (3, 0, Reason::Slot));
    }

    #[test]
    fn unknown_tenants_are_refused_where_the_fleet_says_so() {
        let table = table(|writer| writer.unknown_tenant = 1);
        assert_eq!(refusal(&table, "unheard-of", false), (Code::UnknownTenant, None));
        assert!(decide(&table, &key("pinned"), false, ALL_HEALTHY).is_ok());
    }

    #[test]
    fn states_stop_what_they_say() {
        let table = table(|_| {});
        assert_eq!(refusal(&table, "suspended", false), (Code::TenantSuspended, None));
        assert_eq!(refusal(&table, "moving", true), (Code::TenantMoving, None));
        assert!(decide(&table, &key("moving"), false, ALL_HEALTHY).is_ok());
        assert!(decide(&table, &key("quarantined"), true, ALL_HEALTHY).is_ok());
    }

    #[test]
    fn only_serving_cells_are_asked_about_and_in_their_order() {
        let mut asked = Vec::new();
        let refused = decide(&table(|_| {}), &key("pinned"), false, |cell| {
            asked.push(cell);
            false
        });
        assert_eq!(asked, [3, 1, 0]);
        assert_eq!(
            refused,
            Err(Refusal {
                code: Code::CellUnavailable,
                cell: Some(3)
            })
        );
        assert_eq!(
            refusal(&table(|_| {}), "maintained", false),
            (Code::CellMaintenance, Some(2))
        );
    }

    #[test]
    fn a_cell_serves_by_its_status() {
        for (status, serves) in [(0, false), (1, true), (2, true), (3, true), (4, false), (5, false)] {
            let table = table(|writer| writer.cells[3].1 = status);
            let route = decide(&table, &key("pinned"), false, ALL_HEALTHY).unwrap();
            assert_eq!(route.cell == 3, serves, "status {status}");
        }
    }
}
