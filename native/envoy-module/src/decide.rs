//! The decision: which cell gets a request. Pure, but for the health that it asks about.

use crate::address::without_port;
use crate::key::{KeyValues, PartitionKey, Seals};
use crate::problem::{Code, Refusal};
use crate::table::{Base, CellStatus, MissingKey, Shard, Table, TenantState, UnknownTenant};
use crate::xxh32::xxh32;

/// What named the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The tenant's own entry.
    Assignment,
    /// The slot of its key.
    Slot,
    /// The fleet, for all that have no shard of their own.
    Default,
    /// The slot of the client's address.
    Source,
}

/// A request goes to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the chosen cell.
    pub cell: u16,
    /// Index of the pool; None where the default shard takes the request.
    pub pool: Option<u8>,
    /// The slot of the key, or of the client's address; None where there is neither.
    pub slot: Option<u16>,
    /// What named the shard.
    pub reason: Reason,
}

/// By what a request is placed.
pub enum Subject {
    /// Its key.
    Key(PartitionKey),
    /// It has no key, and goes to the default shard.
    Nobody,
    /// It has no key, and goes by the slot of its client's address.
    Source(u16),
}

impl Subject {
    /// Step 1 of the decision. `address` gives the client's, with or without port, where that is needed.
    pub fn of<'a, B: AsRef<[u8]>>(
        base: &Base<B>,
        values: &KeyValues,
        seals: Seals,
        address: impl FnOnce() -> &'a [u8],
    ) -> Result<Self, Refusal> {
        match (values.key(seals)?, base.policy().missing_key) {
            (Some(key), _) => Ok(Self::Key(key)),
            (None, MissingKey::Refused) if base.wants_token() => Err(Code::Unauthenticated.into()),
            (None, MissingKey::Refused) => Err(Code::MissingKey.into()),
            (None, MissingKey::DefaultShard) => Ok(Self::Nobody),
            (None, MissingKey::Source) => Ok(Self::Source(slot_of(xxh32(without_port(address()))))),
        }
    }

    /// The key, where there is one.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Key(key) => Some(key.as_bytes()),
            Self::Nobody | Self::Source(_) => None,
        }
    }
}

/// Steps 2 to 5 of the decision.
///
/// `has_healthy_host` is asked about the serving cells of the shard, in their order, until it says yes: the last cell
/// that it was asked about is the chosen one.
pub fn decide<B: AsRef<[u8]>>(
    table: &Table<B>,
    subject: &Subject,
    writes: bool,
    mut has_healthy_host: impl FnMut(u16) -> bool,
) -> Result<Route, Refusal> {
    let Placement {
        shard,
        pool,
        slot,
        reason,
    } = place(table, subject, writes)?;
    let base = table.base();
    let usable = |cell: &u16| base.cell_status(*cell).serves() && has_healthy_host(*cell);
    match shard.cells().find(usable) {
        Some(cell) => Ok(Route {
            cell,
            pool,
            slot,
            reason,
        }),
        None => Err(unavailable(base, shard.first())),
    }
}

/// A shard, and what named it.
struct Placement {
    shard: Shard,
    pool: Option<u8>,
    slot: Option<u16>,
    reason: Reason,
}

/// Steps 2 to 4.
fn place<B: AsRef<[u8]>>(table: &Table<B>, subject: &Subject, writes: bool) -> Result<Placement, Refusal> {
    let base = table.base();
    let default_pool = base.policy().default_pool;
    let key = match subject {
        Subject::Key(key) => key.as_bytes(),
        Subject::Nobody => return by_default(base, None),
        Subject::Source(slot) => return by_slot(base, default_pool, *slot, Reason::Source),
    };
    let hash = xxh32(key);
    let slot = slot_of(hash);
    let tenant = match (table.tenant(key, hash), base.policy().unknown_tenant) {
        (Some(tenant), _) => tenant,
        (None, UnknownTenant::Slot) => return by_slot(base, default_pool, slot, Reason::Slot),
        (None, UnknownTenant::Refused) => return Err(Code::UnknownTenant.into()),
        (None, UnknownTenant::DefaultShard) => return by_default(base, Some(slot)),
    };
    match tenant.state {
        TenantState::Suspended => return Err(Code::TenantSuspended.into()),
        TenantState::Moving if writes => return Err(Code::TenantMoving.into()),
        TenantState::Active | TenantState::Moving | TenantState::Quarantined => {}
    }
    match tenant.shard {
        Some(shard) => Ok(Placement {
            shard,
            pool: Some(tenant.pool),
            slot: Some(slot),
            reason: Reason::Assignment,
        }),
        None => by_slot(base, tenant.pool, slot, Reason::Slot),
    }
}

fn by_slot<B: AsRef<[u8]>>(base: &Base<B>, pool: u8, slot: u16, reason: Reason) -> Result<Placement, Refusal> {
    let shard = base.shard_of_slot(pool, slot).ok_or(Code::TenantUnassigned)?;
    Ok(Placement {
        shard,
        pool: Some(pool),
        slot: Some(slot),
        reason,
    })
}

fn by_default<B: AsRef<[u8]>>(base: &Base<B>, slot: Option<u16>) -> Result<Placement, Refusal> {
    let shard = base.policy().default_shard;
    Ok(Placement {
        shard: shard.expect("the default shard was there where it is needed when the table was checked"),
        pool: None,
        slot,
        reason: Reason::Default,
    })
}

fn slot_of(hash: u32) -> u16 {
    (hash & 0xFFFF) as u16
}

fn unavailable<B: AsRef<[u8]>>(base: &Base<B>, first: u16) -> Refusal {
    let in_maintenance = base.cell_status(first) == CellStatus::Maintenance;
    Refusal {
        code: if in_maintenance {
            Code::CellMaintenance
        } else {
            Code::CellUnavailable
        },
        cell: Some(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{Source, TableWriter, TenantRow};
    use std::sync::Arc;

    const ALL_HEALTHY: fn(u16) -> bool = |_| true;

    fn table(change: impl FnOnce(&mut TableWriter)) -> Table<Vec<u8>> {
        let mut writer = TableWriter::sample();
        change(&mut writer);
        Table::new(Arc::new(Base::new(writer.encode()).unwrap()))
    }

    fn key(text: &str) -> Subject {
        Subject::Key(PartitionKey::new(text.as_bytes()).unwrap())
    }

    fn slot(text: &str) -> Option<u16> {
        Some(slot_of(xxh32(text.as_bytes())))
    }

    fn refusal(table: &Table<Vec<u8>>, text: &str, writes: bool) -> (Code, Option<u16>) {
        let refusal = decide(table, &key(text), writes, ALL_HEALTHY).unwrap_err();
        (refusal.code, refusal.cell)
    }

    /// The decision on a request without a key from this address.
    fn without_key(table: &Table<Vec<u8>>, address: &'static str) -> Result<Route, Refusal> {
        let values = KeyValues::new(table.base().key_sources());
        let subject = Subject::of(table.base(), &values, Seals::NONE, || address.as_bytes())?;
        assert_eq!(subject.key(), None);
        decide(table, &subject, true, ALL_HEALTHY)
    }

    #[test]
    fn an_assignment_overrides_the_slot() {
        let route = decide(&table(|_| {}), &key("pinned"), true, ALL_HEALTHY).unwrap();
        assert_eq!(
            route,
            Route {
                cell: 3,
                pool: Some(1),
                slot: slot("pinned"),
                reason: Reason::Assignment
            }
        );
    }

    #[test]
    fn a_key_without_an_entry_goes_by_its_slot_in_the_default_pool() {
        let table = table(|_| {});
        for number in 0..300 {
            let text = format!("tenant-{number}");
            let slot = slot_of(xxh32(text.as_bytes()));
            // The third shard prefers a cell in maintenance, and then the first.
            let cell = [0, 1, 0][usize::from(slot % 3)];
            let route = decide(&table, &key(&text), true, ALL_HEALTHY).unwrap();
            assert_eq!(
                route,
                Route {
                    cell,
                    pool: Some(1),
                    slot: Some(slot),
                    reason: Reason::Slot
                }
            );
        }
    }

    #[test]
    fn an_entry_without_an_assignment_goes_by_its_slot_in_its_pool() {
        let route = decide(&table(|_| {}), &key("enterprise"), true, ALL_HEALTHY).unwrap();
        assert_eq!((route.cell, route.pool, route.reason), (3, Some(0), Reason::Slot));
    }

    #[test]
    fn an_entry_without_an_assignment_in_a_pool_without_slots_is_refused() {
        let table = table(|writer| {
            writer.pools[0].1 = None;
            writer.tenants.push(TenantRow::new("assigned", Some(1), 0, 0));
        });
        assert_eq!(refusal(&table, "enterprise", false), (Code::TenantUnassigned, None));
        let route = decide(&table, &key("assigned"), false, ALL_HEALTHY).unwrap();
        assert_eq!((route.cell, route.pool), (1, Some(0)));
        assert!(decide(&table, &key("unheard-of"), false, ALL_HEALTHY).is_ok());
    }

    #[test]
    fn unknown_tenants_are_refused_where_the_fleet_says_so() {
        let table = table(|writer| writer.unknown_tenant = 1);
        assert_eq!(refusal(&table, "unheard-of", false), (Code::UnknownTenant, None));
        assert!(decide(&table, &key("pinned"), false, ALL_HEALTHY).is_ok());
    }

    #[test]
    fn unknown_tenants_go_to_the_default_shard_where_the_fleet_says_so() {
        let table = table(|writer| {
            writer.unknown_tenant = 2;
            writer.default_shard = Some(1);
        });
        let route = decide(&table, &key("unheard-of"), true, ALL_HEALTHY).unwrap();
        assert_eq!(
            route,
            Route {
                cell: 1,
                pool: None,
                slot: slot("unheard-of"),
                reason: Reason::Default
            }
        );
        assert_eq!(decide(&table, &key("pinned"), true, ALL_HEALTHY).unwrap().cell, 3);
    }

    #[test]
    fn a_request_without_a_key_gets_what_the_fleet_says() {
        let refused = without_key(&table(|_| {}), "192.0.2.1:80").unwrap_err();
        assert_eq!((refused.code, refused.cell), (Code::MissingKey, None));
        let default = table(|writer| {
            writer.missing_key = 1;
            writer.default_shard = Some(4);
        });
        let refused = without_key(&default, "192.0.2.1:80").unwrap_err();
        assert_eq!((refused.code, refused.cell), (Code::CellMaintenance, Some(2)));
        let by_source = table(|writer| writer.missing_key = 2);
        for (address, text) in [("192.0.2.1:80", "192.0.2.1"), ("[2001:db8::1]:80", "2001:db8::1")] {
            let route = without_key(&by_source, address).unwrap();
            assert_eq!(
                (route.pool, route.slot, route.reason),
                (Some(1), slot(text), Reason::Source)
            );
        }
    }

    #[test]
    fn what_the_sources_say_is_the_subject() {
        let table = table(|writer| {
            writer.key_sources = vec![Source::subdomain("example.com"), Source::header("x-org")];
        });
        let mut values = KeyValues::new(table.base().key_sources());
        values.add(b":authority", b"Pinned.example.com");
        let subject = Subject::of(table.base(), &values, Seals::NONE, || unreachable!("there is a key")).unwrap();
        assert_eq!(subject.key(), Some(&b"pinned"[..]));
        values.add(b":authority", b"example.com");
        values.add(b"x-org", b"/");
        let refusal = Subject::of(table.base(), &values, Seals::NONE, || b"")
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refusal.code, Code::InvalidKey);
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
