"""Every lint rule: a fleet that it says something about, and the same fleet without the reason."""

from dataclasses import replace

import pytest

from cellplane.manifest.lint import RULES, lint
from cellplane.manifest.settings import LintSettings
from cellplane.model import (
    Canary,
    Capacity,
    Dimension,
    FailOpen,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Load,
    MissingKey,
    Policy,
    Pool,
    Priority,
    QuarantinePolicy,
    Reads,
    Rule,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
)
from unit.manifest.building import cells, clean, names, rejecting

SOUND = clean()


def codes(topology: Topology, settings: LintSettings | None = None) -> list[str]:
    topology.validate()
    return [finding.rule.code for finding in lint(topology, settings)]


def message(topology: Topology, code: str) -> str:
    (found,) = [finding for finding in lint(topology) if finding.rule.code == code]
    return f"{found.path}: {found.message}"


def keyed(*sources: KeySource) -> Topology:
    return clean(fleet=replace(SOUND.fleet, key_sources=(*SOUND.fleet.key_sources, *sources)))


def header(name: str) -> Topology:
    return keyed(KeySource.trusted_header(name))


def claimed(*sources: KeySource, audiences: tuple[str, ...] = ("shop",)) -> Topology:
    """The sound fleet with these sources alone, and an issuer of tokens."""
    issuer = JwtProvider("id", "https://id.example", audiences, jwks_file="/etc/jwks.json")
    return clean(fleet=replace(SOUND.fleet, key_sources=sources, jwt=(issuer,)))


def pools(*some: Pool, count: int = 6, rules: tuple[Rule, ...] = (), tenants: tuple[Tenant, ...] = ()) -> Topology:
    """The sound fleet with other pools, the first of them the default."""
    fleet = replace(SOUND.fleet, default_pool=some[0].name, rules=rules)
    return Topology(fleet, cells(count), some, tenants)


def shuffle(name: str = "default", count: int = 6, size: int | None = 2, seed: int = 0, **options: object) -> Pool:
    pool = Pool(name, names(cells(count)), StrategyName.SHUFFLE, shard_size=size, seed=seed)
    return replace(pool, **options)  # type: ignore[arg-type]  # options of a pool


def by_slot(count: int = 6, name: str = "default") -> Pool:
    return Pool(name, names(cells(count)), StrategyName.RENDEZVOUS)


def sized(pool: Pool, load: Load, shard_size: int | None = None) -> Topology:
    some = tuple(replace(cell, capacity=Capacity(rps=100, storage_gib=50)) for cell in cells(6))
    return Topology(SOUND.fleet, some, (pool,), (Tenant("a", load=load, shard_size=shard_size),))


def jurisdictions(*, rules: tuple[Rule, ...] = (), tenants: tuple[Tenant, ...] = ()) -> Topology:
    """Six cells in the EU and six in the US; the default pool is explicit and has those in the EU."""
    eu = tuple(replace(cell, id=f"eu-{cell.id}", jurisdiction="eu") for cell in cells(6))
    us = tuple(replace(cell, id=f"us-{cell.id}", jurisdiction="us") for cell in cells(6))
    fleet = replace(SOUND.fleet, default_pool="eu", rules=rules, unknown_tenant=UnknownTenant.REJECT)
    rest = Pool("rest", names(eu), StrategyName.RENDEZVOUS)
    made = (
        Pool("eu", names(eu), StrategyName.EXPLICIT, overflow="rest"),
        rest,
        Pool("us", names(us), StrategyName.RENDEZVOUS),
    )
    return Topology(fleet, (*eu, *us), made, tenants)


def saying(policy: Policy, pool: Pool | None = None) -> Topology:
    """The sound fleet, or one of this pool, whose pool says this."""
    return replace(SOUND, pools=(replace(pool or by_slot(), policy=policy),))


def canaried(percent: float) -> Topology:
    return replace(SOUND, pools=(replace(by_slot(), canary=Canary("cell-1", percent)),))


def quarantining(*away: str) -> Topology:
    """The fleet of two jurisdictions, with these quarantine cells."""
    topology = jurisdictions()
    some = [replace(topology.cells[0], id=cell, jurisdiction=cell.rpartition("-")[2]) for cell in away]
    fleet = replace(topology.fleet, quarantine=QuarantinePolicy(away))
    return replace(topology, fleet=fleet, cells=(*topology.cells, *some))


def reached(public_url: str) -> Topology:
    return replace(SOUND, cells=(replace(SOUND.cells[0], public_url=public_url), *SOUND.cells[1:]))


REST = Rule("rest", "rest", tiers=("rest",))
US = Rule("us", "us", jurisdictions=("us",))
GOLD = Rule("gold", "default", tiers=("gold",))

CLAIM = KeySource(KeySourceKind.JWT_CLAIM, "tenant_id")
COOKIE = KeySource(KeySourceKind.COOKIE, "route")
PATH = KeySource(KeySourceKind.PATH, "/t/")

CASES: dict[str, tuple[Topology, Topology]] = {
    "CP101": (header("x-user-email"), header("x-tenant-id")),
    "CP102": (header("x-country"), header("x-county-council-id")),
    "CP103": (header("x-body-tenant"), header("x-nobody-tenant")),
    "CP104": (claimed(PATH, CLAIM), claimed(CLAIM, PATH)),
    "CP105": (claimed(CLAIM, audiences=()), claimed(CLAIM)),
    "CP201": (replace(rejecting(SOUND), tenants=rejecting(SOUND).tenants[1:]), rejecting(SOUND)),
    "CP202": (pools(by_slot(31), count=31), pools(by_slot(30), count=30)),
    "CP203": (pools(by_slot(1001), count=1001), pools(by_slot(6))),
    "CP204": (replace(SOUND, cells=cells(6, capacity=Capacity())), SOUND),
    "CP205": (pools(by_slot(5)), replace(pools(by_slot(5)), tenants=(Tenant("a", ("cell-6",)),))),
    "CP301": (pools(shuffle(size=6)), pools(shuffle())),
    "CP302": (pools(shuffle(count=4), count=4), pools(shuffle())),
    "CP303": (pools(replace(by_slot(), strategy=StrategyName.MODULO)), SOUND),
    "CP304": (
        pools(by_slot(), replace(by_slot(name="own"), strategy=StrategyName.EXPLICIT)),
        pools(by_slot(), replace(by_slot(name="own"), strategy=StrategyName.EXPLICIT, overflow="default")),
    ),
    "CP305": (sized(shuffle(), Load(1, rps=51)), sized(shuffle(), Load(1, rps=50))),
    "CP306": (pools(by_slot(), Pool("one", ("cell-1",)), rules=(replace(GOLD, pool="one"),)), SOUND),
    "CP307": (replace(SOUND, cells=cells(6, zone="zone-a")), SOUND),
    "CP308": (
        pools(shuffle(spread=(Dimension.ZONE, Dimension.RELEASE))),
        pools(shuffle(spread=(Dimension.ZONE,))),
    ),
    "CP309": (
        pools(shuffle(size=4, count=6, spread=(Dimension.ZONE,))),
        pools(shuffle(size=3, count=6, spread=(Dimension.ZONE,))),
    ),
    "CP310": (
        pools(by_slot(), by_slot(name="other")),
        pools(by_slot(), by_slot(name="other"), tenants=(Tenant("a", pool="other"),)),
    ),
    "CP311": (
        pools(shuffle(), shuffle("other"), rules=(replace(GOLD, pool="other"),)),
        pools(shuffle(), shuffle("other", seed=1), rules=(replace(GOLD, pool="other"),)),
    ),
    "CP401": (
        pools(by_slot(), rules=(GOLD, replace(GOLD, name="two", jurisdictions=("none",)))),
        pools(by_slot(), rules=(replace(GOLD, name="two", jurisdictions=("none",)), GOLD)),
    ),
    "CP402": (
        jurisdictions(rules=(replace(US, tiers=("gold",)), REST), tenants=(Tenant("a", jurisdiction="us"),)),
        jurisdictions(rules=(US, REST), tenants=(Tenant("a", jurisdiction="us"),)),
    ),
    "CP403": (
        jurisdictions(rules=(replace(US, jurisdictions=("us", "ch")), REST)),
        jurisdictions(rules=(US, REST)),
    ),
    "CP404": (
        jurisdictions(rules=(replace(US, jurisdictions=("us", "eu")), REST)),
        jurisdictions(rules=(US, REST)),
    ),
    "CP501": (clean(fleet=replace(SOUND.fleet, missing_key=MissingKey.SOURCE_HASH)), SOUND),
    "CP502": (
        clean(fleet=replace(SOUND.fleet, unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell="cell-1")),
        SOUND,
    ),
    "CP503": (saying(Policy(reads=Reads.CACHE)), saying(Policy(reads=Reads.FAIL))),
    "CP504": (canaried(100), canaried(99.99)),
    "CP505": (saying(Policy(rps=100.5)), saying(Policy(rps=100))),
    "CP506": (reached("http://127.0.0.1:8001"), reached("https://cell-1.example")),
    "CP507": (
        saying(Policy(reads=Reads.STANDBY, standby="cell-4"), by_slot(2)),
        saying(Policy(reads=Reads.STANDBY, standby="cell-3"), Pool("default", ("cell-1", "cell-2"))),
    ),
    "CP508": (quarantining("away-eu"), quarantining("away-eu", "away-us")),
}


def test_the_sound_fleet_is_clean() -> None:
    assert codes(SOUND) == []
    assert codes(rejecting(SOUND)) == []


def test_every_rule_has_its_cases() -> None:
    assert list(CASES) == [rule.code for rule in RULES]
    assert len({rule.code for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_says_something_where_it_should(code: str) -> None:
    assert code in codes(CASES[code][0])


@pytest.mark.parametrize("code", CASES)
def test_a_rule_is_silent_where_it_should_be(code: str) -> None:
    assert code not in codes(CASES[code][1])


@pytest.mark.parametrize(
    "name",
    ["x-email", "phone", "user-agent", "x-real-ip", "x-session-id", "jsessionid", "tenant-name", "x-tenant-token"],
)
def test_unstable_headers_are_found(name: str) -> None:
    assert codes(header(name)) == ["CP101"]


@pytest.mark.parametrize("name", ["preferred_username", "userEmail", "sessionId", "user.email", "https:email", "jti"])
def test_unstable_claims_are_found(name: str) -> None:
    assert codes(claimed(KeySource(KeySourceKind.JWT_CLAIM, name))) == ["CP101"]


@pytest.mark.parametrize("name", ["x-region", "accept-language", "x-plan", "subscription-tier", "locale"])
def test_headers_of_few_values_are_found(name: str) -> None:
    assert codes(header(name)) == ["CP102"]


@pytest.mark.parametrize("name", ["x-tenant-id", "x-org-id", "x-account", "x-workspace-id", "x-customer-no"])
def test_good_headers_are_not(name: str) -> None:
    assert codes(header(name)) == []


def test_a_path_is_judged_and_a_domain_is_not() -> None:
    assert codes(keyed(KeySource(KeySourceKind.PATH, "/country/"))) == ["CP102"]
    assert codes(keyed(KeySource(KeySourceKind.SUBDOMAIN, "region.example.com"))) == []


def test_each_source_that_proves_nothing_before_a_verified_one_is_named_with_the_next_such() -> None:
    some = (KeySource.trusted_header("x-tenant-id"), COOKIE, PATH, CLAIM, KeySource(KeySourceKind.PATH, "/u/"))
    found = [f"{finding.path}: {finding.message}" for finding in lint(claimed(*some)) if finding.rule.code == "CP104"]
    assert found == [
        "fleet.key_sources[0]: the header 'x-tenant-id', which proves nothing, counts before the cookie 'route'",
        "fleet.key_sources[2]: the path '/t/', which proves nothing, counts before the jwt-claim 'tenant_id'",
    ]
    assert "CP104" not in codes(claimed(COOKIE, CLAIM, PATH))
    assert "CP104" not in codes(clean(fleet=Fleet("shop"))), "where nothing is verified, no order is better"


def test_each_issuer_whose_tokens_count_for_any_audience_is_named() -> None:
    issuers = (
        JwtProvider("a", "https://a.example", ("shop",), jwks_file="/a"),
        JwtProvider("b", "https://b.example", jwks_file="/b"),
        JwtProvider("c", "https://c.example", jwks_file="/c"),
    )
    topology = clean(fleet=replace(SOUND.fleet, jwt=issuers))
    assert [(finding.path, finding.rule.code) for finding in lint(topology)] == [
        ("fleet.jwt[1].audiences", "CP105"),
        ("fleet.jwt[2].audiences", "CP105"),
    ]
    one = clean(fleet=replace(SOUND.fleet, jwt=issuers[1:2]))
    assert message(one, "CP105") == (
        "fleet.jwt[0].audiences: whatever https://b.example signs for any service counts as a token for this fleet"
    )


def test_tenants_that_are_not_all_known_are_not_counted() -> None:
    assert "CP201" not in codes(replace(SOUND, tenants=(Tenant("a"),)))
    assert "CP201" not in codes(replace(rejecting(SOUND), tenants=()))


def test_thousands_of_cells_are_said_once() -> None:
    assert codes(CASES["CP203"][0]) == ["CP203"]


def test_many_names_are_counted() -> None:
    assert message(CASES["CP204"][0], "CP204") == (
        "cells[0].capacity: no capacity is declared by cell-1, cell-2, cell-3, cell-4, cell-5 and 1 more: "
        "nothing says when it is full"
    )


def test_the_default_cell_is_used() -> None:
    fleet = replace(SOUND.fleet, missing_key=MissingKey.DEFAULT_CELL, default_cell="cell-6")
    assert codes(replace(pools(by_slot(5)), fleet=fleet)) == ["CP501"]


def test_a_shuffle_of_one_isolates_nothing() -> None:
    assert codes(pools(shuffle(size=1))) == ["CP301"]
    assert codes(pools(replace(by_slot(2), shard_size=2), count=2)) == ["CP301"]


def test_few_shards_are_said_with_their_probability() -> None:
    assert message(CASES["CP302"][0], "CP302") == (
        "pools[0].shard_size: 2 of 4 cells make 6 different shards, for 0 known tenants: two tenants have the same one "
        "with a probability of 17 % or more"
    )
    tenants = tuple(Tenant(f"t{number}") for number in range(151))
    assert codes(pools(shuffle(), tenants=tenants)) == ["CP302"]
    assert codes(pools(shuffle(), tenants=tenants[1:])) == []


def test_a_tenant_may_be_too_large_by_storage_or_for_a_shard_of_its_own_size() -> None:
    assert codes(sized(shuffle(), Load(1, storage_gib=26))) == ["CP305"]
    assert codes(sized(shuffle(), Load(1, rps=50), shard_size=3)) == ["CP305"]
    assert message(CASES["CP305"][0], "CP305") == (
        "tenants[0].load: 'a' is too large for 'default': cell-1: 51 rps is more than 1/2 of 100"
    )


def test_zones_of_two_regions_are_two() -> None:
    some = [replace(cell, zone="a", region=f"r-{place % 2}") for place, cell in enumerate(cells(6))]
    assert codes(replace(SOUND, cells=tuple(some))) == []


def test_cells_without_a_zone_are_said_to_be_so() -> None:
    assert "in region local, and name no zone" in message(replace(SOUND, cells=cells(6, zone="")), "CP307")
    assert message(CASES["CP307"][0], "CP307").endswith("are in zone zone-a")


def test_an_overflow_leads_to_a_pool() -> None:
    topology = jurisdictions(rules=(US,))
    assert "CP310" not in codes(topology)


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        (Rule("a", "default", tiers=("x", "y")), Rule("b", "default", tiers=("x",)), True),
        (Rule("a", "default", tiers=("x",)), Rule("b", "default", tiers=("x", "y")), False),
        (Rule("a", "default", tiers=("x",)), Rule("b", "default", id_pattern="x"), False),
        (Rule("a", "default", id_pattern="*"), Rule("b", "default", tiers=("x",)), True),
        (Rule("a", "default", id_pattern="a*"), Rule("b", "default", id_pattern="ab*"), True),
        (Rule("a", "default", id_pattern="a*"), Rule("b", "default", id_pattern="abc"), True),
        (Rule("a", "default", id_pattern="a?c"), Rule("b", "default", id_pattern="abc"), True),
        (Rule("a", "default", id_pattern="ab*"), Rule("b", "default", id_pattern="a*"), False),
        (Rule("a", "default", id_pattern="a?*"), Rule("b", "default", id_pattern="ab*"), False),
        (Rule("a", "default", id_pattern="a*"), Rule("b", "default", tiers=("x",)), False),
        (
            Rule("a", "default", attributes=(("a", "1"),)),
            Rule("b", "default", attributes=(("a", "1"), ("b", "2"))),
            True,
        ),
        (Rule("a", "default", attributes=(("a", "1"),)), Rule("b", "default", attributes=(("a", "2"),)), False),
    ],
)
def test_a_rule_covers_another(wide: Rule, narrow: Rule, covers: bool) -> None:
    assert ("CP401" in codes(pools(by_slot(), rules=(wide, narrow)))) == covers


def test_an_assigned_tenant_needs_no_rule() -> None:
    assigned = Tenant("a", ("us-cell-1",), jurisdiction="us")
    assert "CP402" not in codes(jurisdictions(rules=(replace(US, tiers=("gold",)), REST), tenants=(assigned,)))


def test_a_tenant_under_a_jurisdiction_that_nobody_serves_is_found() -> None:
    tenants = (Tenant("a", jurisdiction="ch"), Tenant("b", jurisdiction="ch"))
    topology = jurisdictions(rules=(US, REST), tenants=tenants)
    assert message(topology, "CP403") == "tenants[0].jurisdiction: no pool has a cell under ch"


def test_failing_open_says_where_to() -> None:
    fleet = replace(SOUND.fleet, missing_key=MissingKey.DEFAULT_CELL, default_cell="cell-1")
    assert message(clean(fleet=fleet), "CP501").endswith("is served, by one cell")
    assert message(CASES["CP501"][0], "CP501").endswith("by the cell of the client's address")


def test_failing_open_says_for_what() -> None:
    fleet = replace(SOUND.fleet, missing_key=MissingKey.SOURCE_HASH, fail_open=FailOpen.ALL)
    assert "a request that names no tenant is served" in message(clean(fleet=fleet), "CP501")
    assert "a request that reads, and names no tenant, is served" in message(CASES["CP501"][0], "CP501")


def test_stale_answers_are_found_at_every_level() -> None:
    cache = Policy(reads=Reads.CACHE)
    fleet = replace(SOUND.fleet, policy=cache)
    tenants = (Tenant("a"), Tenant("b", policy=cache))
    found = lint(clean(fleet=fleet, tenants=tenants))
    assert [finding.path for finding in found] == ["fleet.policy.reads", "tenants[1].policy.reads"]


def test_a_limit_is_judged_where_it_is_said_and_by_the_shard() -> None:
    said = replace(SOUND.fleet, policy=Policy(rps=50.5))
    by_fleet = replace(pools(replace(shuffle(), policy=Policy(priority=Priority.HIGH))), fleet=said)
    assert message(by_fleet, "CP505").startswith(
        "fleet.policy.rps: 50.5 requests per second of one tenant of pool 'default', where a cell holds 100 and a "
        "shard has 2"
    )
    tenants = (Tenant("a"), Tenant("b", ("cell-1",), policy=Policy(rps=101)), Tenant("c", policy=Policy(rps=51)))
    found = lint(pools(shuffle(), tenants=tenants))
    assert [finding.path for finding in found] == ["tenants[1].policy.rps", "tenants[2].policy.rps"]
    unsaid = replace(pools(shuffle()), cells=tuple(replace(cell, capacity=Capacity(tenants=1)) for cell in cells(6)))
    assert codes(replace(unsaid, fleet=said)) == []


def test_a_standby_is_judged_where_it_is_said() -> None:
    fleet = replace(SOUND.fleet, policy=Policy(reads=Reads.STANDBY, standby="cell-6"))
    assert message(clean(fleet=fleet), "CP507") == (
        "fleet.policy.standby: 'cell-6' is in zone zone-a, as 'cell-3' of pool 'default', for which it stands in: both "
        "fail with the zone"
    )
    own = Policy(reads=Reads.STANDBY, standby="cell-6")
    assert codes(clean(tenants=(Tenant("a", ("cell-3",), policy=own),))) == ["CP507"]
    assert codes(clean(tenants=(Tenant("a", ("cell-2",), policy=own),))) == []
    assert codes(clean(tenants=(Tenant("a", ("cell-6",), policy=own),))) == []


def test_what_a_policy_names_is_used() -> None:
    for policy in (Policy(shadow="cell-6"), Policy(reads=Reads.STANDBY, standby="cell-6")):
        assert "CP205" not in codes(pools(replace(by_slot(5), policy=policy)))
        assert "CP205" not in codes(pools(by_slot(5), tenants=(Tenant("a", policy=policy),)))
    assert "CP205" not in codes(pools(replace(by_slot(5), canary=Canary("cell-6", 1))))


def test_a_quarantine_cell_is_used_and_a_law_without_one_is_named() -> None:
    assert "CP205" not in codes(CASES["CP508"][0])
    assert message(CASES["CP508"][0], "CP508") == (
        "fleet.quarantine.cells: none is under us: poison tenants stay where they are there"
    )
    assert "CP508" not in codes(jurisdictions()), "a fleet may have none at all"


def test_the_thresholds_are_settings() -> None:
    assert codes(SOUND, LintSettings(hand_cells=5)) == ["CP202"]
    assert codes(SOUND, LintSettings(hand_cells=4, many_cells=5)) == ["CP203"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_says_what_to_do(rule: object) -> None:
    meaning, remedy = getattr(rule, "meaning", ""), getattr(rule, "remedy", "")
    assert meaning.endswith((".", "…"))
    assert remedy.endswith(".")
