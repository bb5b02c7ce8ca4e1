//! The decision: which cell gets a request. Pure, but for the health that it asks about.

use crate::address::without_port;
use crate::key::{KeyValues, PartitionKey, Seals};
use crate::problem::{Code, Refusal};
use crate::table::{
    Balance, Base, CanaryBy, CellStatus, MissingKey, Policy, Reads, Shard, Table, Tenant, TenantState, UnknownTenant,
    Writes,
};
use crate::xxh32::{xxh32, xxh32_seeded};

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
    /// Index of the policy that holds.
    pub policy: u16,
    /// Cells of the shard, which share a tenant's limit where the policy has none.
    pub shard_size: usize,
    /// Whether the cell is the pool's canary.
    pub is_canary: bool,
    /// Whether the cell is down, and what the router has kept of its answers may be given.
    pub is_stale: bool,
    /// Whether the client is sent to the cell's own address.
    pub redirects: bool,
    /// The cell that gets a copy.
    pub shadow: Option<u16>,
    /// Whether its answer is compared.
    pub compares: bool,
}

/// What the decision asks of the router that it runs in.
pub trait Surroundings {
    /// Whether a cell has a healthy host, and no circuit breaker is open. It is asked about serving cells alone; where
    /// the answer is yes, the cell is the chosen one unless another is asked about later.
    fn is_usable(&mut self, cell: u16) -> bool;

    /// Requests that this router has under way at a cell.
    fn load(&self, cell: u16) -> u64;

    /// A number that goes up by one from request to request.
    fn turn(&self) -> u64;

    /// A random number, 0 to 9,999.
    fn chance(&self) -> u16;

    /// Takes note that a cell is asked about that need not be the chosen one.
    fn is_shadow_usable(&mut self, cell: u16) -> bool;
}

/// By what a request is placed.
pub enum Subject {
    /// Its key.
    Key(PartitionKey),
    /// It has no key, and goes to the default shard.
    Nobody,
    /// It has no key, and goes by its client's address.
    Source(Source),
}

/// What a client's address stands for.
pub struct Source {
    slot: u16,
    canary_hash: u32,
}

impl Source {
    fn of(address: &[u8]) -> Self {
        let address = without_port(address);
        Self {
            slot: slot_of(xxh32(address)),
            canary_hash: xxh32_seeded(address, CANARY_SEED),
        }
    }
}

/// Another hash than that of slots: a canary takes tenants of all slots.
const CANARY_SEED: u32 = 0x6361_6E61;

impl Subject {
    /// Where it stands among 10,000, by a hash of its own.
    fn canary_place(&self) -> u16 {
        let hash = match self {
            Self::Key(key) => xxh32_seeded(key.as_bytes(), CANARY_SEED),
            Self::Nobody => 0,
            Self::Source(source) => source.canary_hash,
        };
        (hash % 10_000) as u16
    }

    /// Step 1 of the decision. `address` gives the client's, with or without port, where that is needed.
    pub fn of<'a, B: AsRef<[u8]>>(
        base: &Base<B>,
        values: &KeyValues,
        writes: bool,
        seals: Seals,
        address: impl FnOnce() -> &'a [u8],
    ) -> Result<Self, Refusal> {
        if let Some(key) = values.key(seals)? {
            return Ok(Self::Key(key));
        }
        let is_closed = writes && !base.policy().fail_open;
        match base.policy().missing_key {
            MissingKey::DefaultShard if !is_closed => Ok(Self::Nobody),
            MissingKey::Source if !is_closed => Ok(Self::Source(Source::of(address()))),
            _ => Err(no_key(base)),
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

/// The refusal of a request that does not say whom it is for.
pub fn no_key<B: AsRef<[u8]>>(base: &Base<B>) -> Refusal {
    if base.wants_token() {
        Code::Unauthenticated.into()
    } else {
        Code::MissingKey.into()
    }
}

/// Steps 2 to 10 of the decision.
pub fn decide<B: AsRef<[u8]>>(
    table: &Table<B>,
    subject: &Subject,
    writes: bool,
    surroundings: &mut impl Surroundings,
) -> Result<Route, Refusal> {
    let placement = place(table, subject, writes)?;
    let mut choice = Choice {
        base: table.base(),
        placement: &placement,
        surroundings,
    };
    let (cell, is_canary, is_stale) = choice.cell(subject, writes)?;
    let policy = choice.base.policy_at(placement.policy);
    let redirects = policy.redirects && !is_stale && !choice.base.public_url(cell).is_empty();
    let wanted = policy
        .shadow
        .filter(|shadow| !redirects && !is_stale && !placement.is_alone && *shadow != cell)
        .filter(|_| !(writes && policy.copies_reads_alone));
    let shadow = wanted.filter(|shadow| choice.may_shadow(*shadow));
    let compares = shadow.is_some() && policy.compare_bp > 0 && choice.surroundings.chance() < policy.compare_bp;
    Ok(Route {
        cell,
        pool: placement.pool,
        slot: placement.slot,
        reason: placement.reason,
        policy: placement.policy,
        shard_size: placement.shard.cells().count(),
        is_canary,
        is_stale,
        redirects,
        shadow,
        compares,
    })
}

/// Steps 6 to 8, and 10.
struct Choice<'a, B, S> {
    base: &'a Base<B>,
    placement: &'a Placement,
    surroundings: &'a mut S,
}

impl<B: AsRef<[u8]>, S: Surroundings> Choice<'_, B, S> {
    /// The cell, whether it is the canary, and whether it is down and only its answers of before may be given.
    fn cell(&mut self, subject: &Subject, writes: bool) -> Result<(u16, bool, bool), Refusal> {
        let shard = self.placement.shard;
        if let Some(canary) = self.canary(subject) {
            return Ok((canary, true, false));
        }
        let policy = *self.base.policy_at(self.placement.policy);
        let chosen = match policy.balance {
            Balance::Preferred => self.preferred(writes, &policy),
            Balance::RoundRobin => {
                let first = (self.surroundings.turn() % shard.cells().count() as u64) as usize;
                let mut in_turn = shard.cells().skip(first).chain(shard.cells().take(first));
                in_turn.find(|cell| self.is_usable(*cell))
            }
            Balance::LeastLoaded => self.least_loaded(),
        };
        match (chosen, policy.reads) {
            (Some(cell), _) => Ok((cell, false, false)),
            (None, _) if self.placement.is_alone => Err(unavailable(self.base, shard.first())),
            (None, Reads::Standby(standby)) if !writes && self.may_stand_in(standby) => Ok((standby, false, false)),
            (None, Reads::Cache(_)) if !writes => Ok((shard.first(), false, true)),
            _ => Err(unavailable(self.base, shard.first())),
        }
    }

    fn canary(&mut self, subject: &Subject) -> Option<u16> {
        if self.placement.is_alone {
            return None;
        }
        let canary = self.base.pool_policy(self.placement.pool?).canary?;
        let falls = match canary.by {
            CanaryBy::Tenant => subject.canary_place() < canary.bp,
            CanaryBy::Request => self.surroundings.chance() < canary.bp,
        };
        (falls && self.may_stand_in(canary.cell)).then_some(canary.cell)
    }

    fn preferred(&mut self, writes: bool, policy: &Policy) -> Option<u16> {
        let shard = self.placement.shard;
        let may_go_on = if writes {
            policy.writes == Writes::Shard
        } else {
            policy.reads == Reads::Shard
        };
        let candidates = if may_go_on { usize::MAX } else { 1 };
        let mut cells = shard.cells().take(candidates);
        cells.find(|cell| self.is_usable(*cell))
    }

    fn least_loaded(&mut self) -> Option<u16> {
        let shard = self.placement.shard;
        let mut asked = 0u8;
        for _ in shard.cells() {
            let rest = (0u8..).zip(shard.cells()).filter(|(place, _)| asked & 1 << place == 0);
            // Of several with the least, the first.
            let (place, cell) = rest.min_by_key(|(_, cell)| self.surroundings.load(*cell))?;
            if self.is_usable(cell) {
                return Some(cell);
            }
            asked |= 1 << place;
        }
        None
    }

    fn is_usable(&mut self, cell: u16) -> bool {
        self.base.cell_status(cell).serves() && self.surroundings.is_usable(cell)
    }

    /// Whether a cell may take the place of the shard's first.
    fn may_stand_in(&mut self, cell: u16) -> bool {
        self.is_of_shard_or_jurisdiction(cell) && self.is_usable(cell)
    }

    fn may_shadow(&mut self, cell: u16) -> bool {
        let is_allowed = self.is_of_shard_or_jurisdiction(cell) && self.base.cell_status(cell).serves();
        is_allowed && self.surroundings.is_shadow_usable(cell)
    }

    fn is_of_shard_or_jurisdiction(&self, cell: u16) -> bool {
        let shard = self.placement.shard;
        let jurisdiction = |cell| self.base.jurisdiction(cell);
        shard.cells().any(|member| member == cell) || jurisdiction(cell) == jurisdiction(shard.first())
    }
}

/// The cells that serve a subject; None where it is refused.
pub fn shard_of<B: AsRef<[u8]>>(table: &Table<B>, subject: &Subject) -> Option<Shard> {
    place(table, subject, false).ok().map(|placement| placement.shard)
}

/// A shard, and what named it.
struct Placement {
    shard: Shard,
    pool: Option<u8>,
    slot: Option<u16>,
    reason: Reason,
    policy: u16,
    /// Whether only the shard's cells may get the request, and nobody a copy: the tenant is in quarantine.
    is_alone: bool,
}

/// Steps 2 to 5.
fn place<B: AsRef<[u8]>>(table: &Table<B>, subject: &Subject, writes: bool) -> Result<Placement, Refusal> {
    let base = table.base();
    let default_pool = base.policy().default_pool;
    let key = match subject {
        Subject::Key(key) => key.as_bytes(),
        Subject::Nobody => return by_default(base, None),
        Subject::Source(source) => return by_slot(base, default_pool, source.slot, Reason::Source),
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
    let is_alone = tenant.state == TenantState::Quarantined;
    let policy = policy_of(base, &tenant);
    match tenant.shard {
        Some(shard) => Ok(Placement {
            shard,
            pool: Some(tenant.pool),
            slot: Some(slot),
            reason: Reason::Assignment,
            policy,
            is_alone,
        }),
        None => {
            let placement = by_slot(base, tenant.pool, slot, Reason::Slot)?;
            Ok(Placement {
                policy,
                is_alone,
                ..placement
            })
        }
    }
}

fn policy_of<B: AsRef<[u8]>>(base: &Base<B>, tenant: &Tenant) -> u16 {
    match tenant.policy {
        0 => base.pool_policy(tenant.pool).policy,
        own => own.into(),
    }
}

fn by_slot<B: AsRef<[u8]>>(base: &Base<B>, pool: u8, slot: u16, reason: Reason) -> Result<Placement, Refusal> {
    let shard = base.shard_of_slot(pool, slot).ok_or(Code::TenantUnassigned)?;
    Ok(Placement {
        shard,
        pool: Some(pool),
        slot: Some(slot),
        reason,
        policy: base.pool_policy(pool).policy,
        is_alone: false,
    })
}

fn by_default<B: AsRef<[u8]>>(base: &Base<B>, slot: Option<u16>) -> Result<Placement, Refusal> {
    let shard = base.policy().default_shard;
    Ok(Placement {
        shard: shard.expect("the default shard was there where it is needed when the table was checked"),
        pool: None,
        slot,
        reason: Reason::Default,
        policy: base.policy().policy,
        is_alone: false,
    })
}

fn slot_of(hash: u32) -> u16 {
    (hash & 0xFFFF) as u16
}

/// The refusal of a request none of whose cells can be used.
pub fn unavailable<B: AsRef<[u8]>>(base: &Base<B>, first: u16) -> Refusal {
    let in_maintenance = base.cell_status(first) == CellStatus::Maintenance;
    Refusal {
        code: if in_maintenance {
            Code::CellMaintenance
        } else {
            Code::CellUnavailable
        },
        cell: Some(first),
        limit: None,
        nothing_kept: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{CellRow, PolicyRow, PoolRow, Source, TableWriter, TenantRow, Town};
    use std::sync::Arc;

    fn table(change: impl FnOnce(&mut TableWriter)) -> Table<Vec<u8>> {
        let mut writer = TableWriter::sample();
        change(&mut writer);
        Table::new(Arc::new(Base::new(writer.encode()).unwrap()))
    }

    fn key(text: &str) -> Subject {
        Subject::Key(PartitionKey::new(text.as_bytes()).unwrap())
    }

    /// A route of a shard of one cell, of the first policy.
    fn plain(cell: u16, reason: Reason) -> Route {
        Route {
            cell,
            pool: None,
            slot: None,
            reason,
            policy: 0,
            shard_size: 1,
            is_canary: false,
            is_stale: false,
            redirects: false,
            shadow: None,
            compares: false,
        }
    }

    fn slot(text: &str) -> Option<u16> {
        Some(slot_of(xxh32(text.as_bytes())))
    }

    fn refusal(table: &Table<Vec<u8>>, text: &str, writes: bool) -> (Code, Option<u16>) {
        let refusal = decide(table, &key(text), writes, &mut Town::default()).unwrap_err();
        (refusal.code, refusal.cell)
    }

    /// The decision on a request without a key from this address.
    fn without_key(table: &Table<Vec<u8>>, address: &'static str) -> Result<Route, Refusal> {
        let values = KeyValues::new(table.base().key_sources());
        let subject = Subject::of(table.base(), &values, false, Seals::NONE, || address.as_bytes())?;
        assert_eq!(subject.key(), None);
        decide(table, &subject, true, &mut Town::default())
    }

    #[test]
    fn an_assignment_overrides_the_slot() {
        let route = decide(&table(|_| {}), &key("pinned"), true, &mut Town::default()).unwrap();
        assert_eq!(
            route,
            Route {
                pool: Some(1),
                slot: slot("pinned"),
                shard_size: 3,
                ..plain(3, Reason::Assignment)
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
            let route = decide(&table, &key(&text), true, &mut Town::default()).unwrap();
            assert_eq!(
                route,
                Route {
                    pool: Some(1),
                    slot: Some(slot),
                    shard_size: [1, 1, 2][usize::from(slot % 3)],
                    ..plain(cell, Reason::Slot)
                }
            );
        }
    }

    #[test]
    fn an_entry_without_an_assignment_goes_by_its_slot_in_its_pool() {
        let route = decide(&table(|_| {}), &key("enterprise"), true, &mut Town::default()).unwrap();
        assert_eq!((route.cell, route.pool, route.reason), (3, Some(0), Reason::Slot));
    }

    #[test]
    fn an_entry_without_an_assignment_in_a_pool_without_slots_is_refused() {
        let table = table(|writer| {
            writer.pools[0].1 = None;
            writer.tenants.push(TenantRow::new("assigned", Some(1), 0, 0));
        });
        assert_eq!(refusal(&table, "enterprise", false), (Code::TenantUnassigned, None));
        let route = decide(&table, &key("assigned"), false, &mut Town::default()).unwrap();
        assert_eq!((route.cell, route.pool), (1, Some(0)));
        assert!(decide(&table, &key("unheard-of"), false, &mut Town::default()).is_ok());
    }

    #[test]
    fn unknown_tenants_are_refused_where_the_fleet_says_so() {
        let table = table(|writer| writer.unknown_tenant = 1);
        assert_eq!(refusal(&table, "unheard-of", false), (Code::UnknownTenant, None));
        assert!(decide(&table, &key("pinned"), false, &mut Town::default()).is_ok());
    }

    #[test]
    fn unknown_tenants_go_to_the_default_shard_where_the_fleet_says_so() {
        let table = table(|writer| {
            writer.unknown_tenant = 2;
            writer.default_shard = Some(1);
        });
        let route = decide(&table, &key("unheard-of"), true, &mut Town::default()).unwrap();
        assert_eq!(
            route,
            Route {
                slot: slot("unheard-of"),
                ..plain(1, Reason::Default)
            }
        );
        assert_eq!(
            decide(&table, &key("pinned"), true, &mut Town::default()).unwrap().cell,
            3
        );
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
        let subject = Subject::of(table.base(), &values, false, Seals::NONE, || {
            unreachable!("there is a key")
        })
        .unwrap();
        assert_eq!(subject.key(), Some(&b"pinned"[..]));
        values.add(b":authority", b"example.com");
        values.add(b"x-org", b"/");
        let refusal = Subject::of(table.base(), &values, false, Seals::NONE, || b"")
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refusal.code, Code::InvalidKey);
    }

    #[test]
    fn states_stop_what_they_say() {
        let table = table(|_| {});
        assert_eq!(refusal(&table, "suspended", false), (Code::TenantSuspended, None));
        assert_eq!(refusal(&table, "moving", true), (Code::TenantMoving, None));
        assert!(decide(&table, &key("moving"), false, &mut Town::default()).is_ok());
        assert!(decide(&table, &key("quarantined"), true, &mut Town::default()).is_ok());
    }

    #[test]
    fn only_serving_cells_are_asked_about_and_in_their_order() {
        let mut town = Town {
            down: vec![0, 1, 2, 3],
            ..Town::default()
        };
        let refused = decide(&table(|_| {}), &key("pinned"), false, &mut town).unwrap_err();
        assert_eq!(town.asked, [3, 1, 0]);
        assert_eq!((refused.code, refused.cell), (Code::CellUnavailable, Some(3)));
        assert_eq!(
            refusal(&table(|_| {}), "maintained", false),
            (Code::CellMaintenance, Some(2))
        );
    }

    #[test]
    fn a_cell_serves_by_its_status() {
        for (status, serves) in [(0, false), (1, true), (2, true), (3, true), (4, false), (5, false)] {
            let table = table(|writer| writer.cells[3].1 = status);
            let route = decide(&table, &key("pinned"), false, &mut Town::default()).unwrap();
            assert_eq!(route.cell == 3, serves, "status {status}");
        }
    }

    /// A table whose tenant `pinned`, of the shard 3, 1, 0, has this policy.
    fn with_policy(policy: PolicyRow, change: impl FnOnce(&mut TableWriter)) -> Table<Vec<u8>> {
        table(|writer| {
            writer.policies.push(policy);
            writer.tenants[0].policy = 1;
            change(writer);
        })
    }

    fn asked(table: &Table<Vec<u8>>, writes: bool, town: &Town) -> Result<Route, Code> {
        decide(table, &key("pinned"), writes, &mut town.clone()).map_err(|refusal| refusal.code)
    }

    fn cell_of(table: &Table<Vec<u8>>, writes: bool, down: &[u16]) -> Result<u16, Code> {
        let town = Town {
            down: down.to_vec(),
            ..Town::default()
        };
        asked(table, writes, &town).map(|route| route.cell)
    }

    #[test]
    fn a_policy_says_what_reads_and_writes_get_when_the_first_cell_is_down() {
        let fail = with_policy(
            PolicyRow {
                writes: 1,
                reads: 3,
                ..PolicyRow::default()
            },
            |_| {},
        );
        for writes in [false, true] {
            assert_eq!(cell_of(&fail, writes, &[]), Ok(3));
            assert_eq!(cell_of(&fail, writes, &[3]), Err(Code::CellUnavailable));
        }
        let standby = with_policy(
            PolicyRow {
                reads: 1,
                standby: 0,
                ..PolicyRow::default()
            },
            |_| {},
        );
        assert_eq!(cell_of(&standby, false, &[3]), Ok(0));
        assert_eq!(cell_of(&standby, true, &[3]), Ok(1));
        assert_eq!(cell_of(&standby, false, &[3, 0]), Err(Code::CellUnavailable));
        let cache = with_policy(
            PolicyRow {
                reads: 2,
                cache_s: 60,
                ..PolicyRow::default()
            },
            |_| {},
        );
        let town = Town {
            down: vec![3],
            ..Town::default()
        };
        let route = asked(&cache, false, &town).unwrap();
        assert_eq!((route.cell, route.is_stale), (3, true));
        assert_eq!(asked(&cache, true, &town).unwrap().cell, 1);
    }

    #[test]
    fn nothing_stands_in_from_another_jurisdiction() {
        let abroad = |writer: &mut TableWriter| {
            writer.cell_rows = vec![CellRow {
                jurisdiction: "us",
                ..CellRow::default()
            }];
            writer.shards[3] = vec![3, 1];
        };
        let policy = PolicyRow {
            reads: 1,
            standby: 0,
            shadow: 0,
            ..PolicyRow::default()
        };
        let table = with_policy(policy, abroad);
        assert_eq!(cell_of(&table, false, &[3]), Err(Code::CellUnavailable));
        assert_eq!(asked(&table, false, &Town::default()).unwrap().shadow, None);
        let canary = super::tests::table(|writer| {
            abroad(writer);
            writer.pool_rows = vec![PoolRow::default(), canary(0, 10_000, 0)];
        });
        assert_eq!(asked(&canary, false, &Town::default()).unwrap().cell, 3);
    }

    #[test]
    fn requests_are_spread_in_turn_or_by_load() {
        let spread = |balance| {
            let policy = PolicyRow {
                balance,
                ..PolicyRow::default()
            };
            with_policy(policy, |_| {})
        };
        let in_turn = spread(1);
        for (turn, cell) in [(0, 3), (1, 1), (2, 0), (3, 3), (u64::MAX, 3)] {
            let town = Town {
                turn,
                ..Town::default()
            };
            assert_eq!(asked(&in_turn, true, &town).unwrap().cell, cell, "{turn}");
        }
        let town = Town {
            turn: 1,
            down: vec![1],
            ..Town::default()
        };
        assert_eq!(asked(&in_turn, true, &town).unwrap().cell, 0);
        let by_load = spread(2);
        for (loads, down, cell) in [
            (vec![], vec![], Ok(3)),
            (vec![2, 1, 0, 3], vec![], Ok(1)),
            (vec![2, 1, 0, 3], vec![1], Ok(0)),
            (vec![2, 1, 0, 3], vec![1, 0], Ok(3)),
            (vec![1, 1, 0, 1], vec![], Ok(3)),
            (vec![2, 1, 0, 3], vec![0, 1, 3], Err(Code::CellUnavailable)),
        ] {
            let town = Town {
                loads,
                down,
                ..Town::default()
            };
            assert_eq!(asked(&by_load, true, &town).map(|route| route.cell), cell, "{town:?}");
        }
    }

    fn canary(cell: u16, bp: u16, by: u8) -> PoolRow {
        PoolRow {
            policy: 0,
            canary_cell: cell,
            canary_bp: bp,
            canary_by: by,
        }
    }

    #[test]
    fn a_canary_takes_its_part() {
        let pool = |row: PoolRow| table(|writer| writer.pool_rows = vec![PoolRow::default(), row]);
        let by_request = pool(canary(1, 500, 1));
        for (chance, is_canary) in [(0, true), (499, true), (500, false)] {
            let town = Town {
                chance,
                ..Town::default()
            };
            let route = asked(&by_request, true, &town).unwrap();
            assert_eq!(
                (route.is_canary, route.cell),
                (is_canary, if is_canary { 1 } else { 3 })
            );
        }
        let by_tenant = pool(canary(1, 1_000, 0));
        let falls = |number: u32| {
            let subject = key(&format!("t{number}"));
            let route = decide(&by_tenant, &subject, false, &mut Town::default()).unwrap();
            assert_eq!(
                route.is_canary,
                xxh32_seeded(subject.key().unwrap(), CANARY_SEED) % 10_000 < 1_000
            );
            route.is_canary
        };
        let share = (0..10_000).filter(|number| falls(*number)).count();
        assert!((900..1_100).contains(&share), "{share}");
        let town = Town {
            down: vec![1],
            ..Town::default()
        };
        assert!(!asked(&pool(canary(1, 10_000, 0)), true, &town).unwrap().is_canary);
    }

    #[test]
    fn a_redirect_needs_an_address_and_a_shadow_is_another_cell() {
        let redirect = |url| {
            let policy = PolicyRow {
                mode: 1,
                shadow: 1,
                ..PolicyRow::default()
            };
            let row = CellRow {
                public_url: url,
                ..CellRow::default()
            };
            with_policy(policy, |writer| writer.cell_rows = vec![row; 4])
        };
        let route = asked(&redirect("https://shop.example"), true, &Town::default()).unwrap();
        assert_eq!((route.redirects, route.shadow), (true, None));
        let route = asked(&redirect(""), true, &Town::default()).unwrap();
        assert_eq!((route.redirects, route.shadow), (false, Some(1)));
        let town = Town {
            down: vec![3],
            ..Town::default()
        };
        let route = asked(&redirect(""), true, &town).unwrap();
        assert_eq!((route.cell, route.shadow), (1, None));
    }

    #[test]
    fn a_part_of_what_is_copied_is_compared() {
        let policy = PolicyRow {
            shadow: 1,
            compare_bp: 2_500,
            ..PolicyRow::default()
        };
        let table = with_policy(policy, |_| {});
        for (chance, down, expected) in [
            (2_499, vec![], (Some(1), true)),
            (2_500, vec![], (Some(1), false)),
            (0, vec![1], (None, false)),
        ] {
            let town = Town {
                chance,
                down,
                ..Town::default()
            };
            let route = asked(&table, true, &town).unwrap();
            assert_eq!((route.shadow, route.compares), expected);
        }
    }

    #[test]
    fn a_shadow_of_reads_gets_no_write() {
        for (copies, writes, expected) in [
            (0, false, (Some(1), true)),
            (0, true, (Some(1), true)),
            (1, false, (Some(1), true)),
            (1, true, (None, false)),
        ] {
            let policy = PolicyRow {
                shadow: 1,
                copies,
                compare_bp: 10_000,
                ..PolicyRow::default()
            };
            let route = asked(&with_policy(policy, |_| {}), writes, &Town::default()).unwrap();
            assert_eq!((route.cell, (route.shadow, route.compares)), (3, expected));
        }
    }

    #[test]
    fn what_has_no_key_fails_open_for_reads_alone_unless_the_fleet_says_all() {
        for (fail_open, writes, passes) in [(0, false, true), (0, true, false), (1, false, true), (1, true, true)] {
            let table = table(|writer| {
                writer.missing_key = 2;
                writer.fail_open = fail_open;
            });
            let values = KeyValues::new(table.base().key_sources());
            let subject = Subject::of(table.base(), &values, writes, Seals::NONE, || b"192.0.2.1");
            assert_eq!(subject.is_ok(), passes, "{fail_open} {writes}");
        }
    }
}
