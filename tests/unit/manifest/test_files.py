"""What a file says, and where what is wrong stands."""

from dataclasses import replace

import pytest

from cellplane.manifest.files import check_whole, read
from cellplane.manifest.problem import Problem
from cellplane.manifest.settings import ManifestSettings
from cellplane.manifest.tree import mark_at
from cellplane.model import (
    Capacity,
    CellStatus,
    Dimension,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Load,
    MissingKey,
    Rule,
    StrategyName,
    TenantState,
)
from unit.manifest.building import CELLS, FLEET, HEAD, POOL, document, fleet_document, manifest, said


def one(kind: str, spec: str, name: str = "thing") -> list[str]:
    whole = kind != "Fleet" or "keySources" in spec
    text = document(kind, name, spec) if whole else fleet_document(spec, name)
    return [str(problem).removeprefix("fleet.yaml:") for problem in manifest(text).problems]


def test_every_field_of_every_kind_is_read() -> None:
    found = manifest(
        document(
            "Fleet",
            "shop",
            "{keySources: [{kind: jwt-claim, name: org.id}, {kind: cookie, name: route}, {kind: path, name: /t/}, "
            "{kind: header, name: x-tenant-id, trusted: true}], jwt: [{name: id, issuer: 'https://id.example', "
            "audiences: [shop, api], jwksUrl: 'https://id.example/jwks', cookie: session, clockSkewSeconds: 5}, "
            "{name: own, issuer: own, jwksFile: /etc/jwks.json}], defaultPool: gold, "
            "unknownTenant: reject, missingKey: default-cell, defaultCell: cell-1, retryAfterSeconds: 7, rules: "
            "[{name: big, pool: gold, match: {tiers: [gold], jurisdictions: [eu, us], idPattern: 'a*', "
            "attributes: {b: c}}}]}",
        ),
        document(
            "Cell",
            "cell-1",
            "{address: 10.0.0.1, port: 8443, region: eu-1, zone: a, jurisdiction: no, status: draining, weight: 2, "
            "release: v1, capacity: {tenants: 3, rps: 1.5, storageGib: 2}}",
        ),
        document(
            "Pool",
            "gold",
            "{cells: [cell-1, cell-2], strategy: shuffle, shardSize: 2, seed: 18446744073709551615, "
            "spread: [zone, release], maxOverlap: 1, virtualNodes: 10}",
        ),
        document("Pool", "own", "{cells: [cell-1], strategy: explicit, dedicated: true, overflow: gold}"),
        document(
            "Tenant",
            "ACME",
            "{cells: [cell-1], pool: gold, tier: gold, jurisdiction: eu, attributes: {z: '1', b: c}, state: suspended, "
            "load: {rps: 2}, shardSize: 3}",
        ),
    )
    assert found.problems == ()
    topology = found.topology()
    fleet, (cell,), (gold, own), (tenant,) = topology.fleet, topology.cells, topology.pools, topology.tenants
    assert fleet.key_sources == (
        KeySource(KeySourceKind.JWT_CLAIM, "org.id"),
        KeySource(KeySourceKind.COOKIE, "route"),
        KeySource(KeySourceKind.PATH, "/t/"),
        KeySource.trusted_header("x-tenant-id"),
    )
    assert fleet.jwt == (
        JwtProvider(
            "id",
            "https://id.example",
            ("shop", "api"),
            "https://id.example/jwks",
            cookie="session",
            clock_skew_seconds=5,
        ),
        JwtProvider("own", "own", jwks_file="/etc/jwks.json"),
    )
    assert (fleet.missing_key, fleet.default_cell, fleet.retry_after_seconds) == (MissingKey.DEFAULT_CELL, "cell-1", 7)
    assert fleet.rules == (Rule("big", "gold", ("gold",), ("eu", "us"), "a*", (("b", "c"),)),)
    assert cell.jurisdiction == "no", "the code of Norway is a text"
    assert (cell.status, cell.weight, cell.capacity) == (CellStatus.DRAINING, 2.0, Capacity(3, 1.5, 2.0))
    assert (gold.strategy, gold.spread) == (StrategyName.SHUFFLE, (Dimension.ZONE, Dimension.RELEASE))
    assert (gold.seed, gold.max_overlap, gold.virtual_nodes) == (2**64 - 1, 1, 10)
    assert own.dedicated
    assert own.overflow == "gold"
    assert (tenant.id, tenant.shard, tenant.state) == ("ACME", ("cell-1",), TenantState.SUSPENDED)
    assert tenant.attributes == (("b", "c"), ("z", "1"))
    assert tenant.load == Load(tenants=1, rps=2.0)
    assert tenant.shard_size == 3


def test_an_error_names_file_line_column_resource_and_field() -> None:
    text = f"{HEAD}kind: Cell\nmetadata: {{name: cell-2}}\nspec:\n  address: h\n  port: 70000\n"
    (problem,) = read([("fleet.yaml", text)]).problems
    assert str(problem) == "fleet.yaml:6:9: Cell/cell-2 spec.port: expected 1 to 65535, found 70000"


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("Cell", "{address: h, port: 1, zonne: a}", "6:29: Cell/thing spec.zonne: no such field: did you mean zone?"),
        ("Pool", "{cells: [a], shard_size: 1}", "6:20: Pool/thing spec.shard_size: no such field: did you mean shardS"),
        ("Cell", "{address: h, port: 1, x: 2}", "6:29: Cell/thing spec.x: no such field: expected address, port, "),
        ("Cell", "{address: h}", "6:7: Cell/thing spec.port: is missing"),
        ("Cell", "{address: h, port: '1'}", "6:26: Cell/thing spec.port: expected 1 to 65535, found '1'"),
        ("Cell", "{address: h, port: true}", "6:26: Cell/thing spec.port: expected 1 to 65535, found true"),
        ("Cell", "{address: h, port: 0}", "6:26: Cell/thing spec.port: expected 1 to 65535, found 0"),
        ("Cell", "{address: h, port: 1.5}", "6:26: Cell/thing spec.port: expected 1 to 65535, found the number 1.5"),
        ("Cell", "{address: h i, port: 1}", "6:17: Cell/thing spec.address: expected an IP address or host name, "),
        ("Cell", "{address: h, port: 1, weight: .nan}", "expected 0.001 to 100, found nan"),
        ("Cell", "{address: h, port: 1, weight: [1]}", "expected 0.001 to 100, found a list"),
        ("Cell", "{address: h, port: 1, weight: false}", "expected 0.001 to 100, found false"),
        ("Cell", "{address: h, port: 1, capacity: {rps: 0}}", "expected a number above 0, at most 1e+12, found 0"),
        ("Cell", "{address: h, port: 1, capacity: 3}", "spec.capacity: expected fields, found the number 3"),
        ("Cell", "{address: h, port: 1, release: 1.10}", "expected a text, found the number 1.1: put it in quotes"),
        ("Cell", "{address: h, port: 1, region: }", "spec.region: expected a text, found nothing"),
        ("Cell", "{address: h, port: 1, region: {}}", "spec.region: expected a text, found fields"),
        ("Cell", "{address: h, port: 1, region: ''}", "spec.region: expected 1 to 63 characters, found 0"),
        ("Cell", "{address: h, port: 1, region: EU}", "spec.region: a name is 1 to 63 lower-case letters, "),
        ("Cell", "{address: h, port: 1, status: activ}", "retired; found 'activ': did you mean active?"),
        ("Cell", "{address: h, port: 1, status: 3}", "maintenance or retired; found the number 3"),
        ("Pool", "{cells: a}", "6:15: Pool/thing spec.cells: expected a list, found 'a'"),
        ("Pool", "{cells: []}", "spec.cells: expected 1 to 65534 in the list, found 0"),
        ("Pool", "{cells: [a, b, a]}", "6:22: Pool/thing spec.cells[2]: stands twice in the list"),
        ("Pool", "{cells: [a], dedicated: yes}", "spec.dedicated: expected true or false, found 'yes'"),
        ("Pool", "{cells: [a], seed: 3}", "6:26: Pool/thing spec.seed: means nothing to the strategy ring"),
        ("Pool", "{cells: [a], strategy: shuffle}", "6:7: Pool/thing spec.shardSize: a shard of 2 distinct cells "),
        ("Tenant", "{attributes: [a]}", "spec.attributes: expected names and texts, found a list"),
        ("Tenant", "{attributes: {A: b}}", "6:21: Tenant/thing spec.attributes.A: a name is 1 to 63 lower-case"),
        ("Tenant", "{attributes: {a: 1}}", "spec.attributes.a: expected a text, found the number 1: put it in quotes"),
        ("Tenant", '{attributes: {a: "\\a"}}', "6:24: Tenant/thing spec.attributes.a: expected 1 to 128 printable"),
        ("Tenant", "{state: moving}", "expected active or suspended; found 'moving'"),
        ("Tenant", "[a]", "6:7: Tenant/thing spec: expected fields, found a list"),
        (
            "Fleet",
            "{rules: [{name: a, pool: b, match: {}}]}",
            "6:16: Fleet/thing spec.rules[0]: a rule without a condi",
        ),
        ("Fleet", "{rules: [{name: a, match: {tiers: [b]}}]}", "6:16: Fleet/thing spec.rules[0].pool: is missing"),
        (
            "Fleet",
            "{rules: [{name: a, pool: b, match: {idPattern: 'ä'}}]}",
            "6:54: Fleet/thing spec.rules[0].match.idPattern: expected at most 128 ASCII",
        ),
        (
            "Fleet",
            "{keySources: [{kind: header, name: Host}]}",
            "6:42: Fleet/thing spec.keySources[0].name: expected a",
        ),
        ("Fleet", "{keySources: []}", "6:20: Fleet/thing spec.keySources: expected 1 to 8 in the list, found 0"),
        (
            "Fleet",
            "{keySources: [{kind: header, name: x-id}]}",
            "6:21: Fleet/thing spec.keySources[0].trusted: every client can write the header 'x-id'",
        ),
        (
            "Fleet",
            "{keySources: [{kind: header, name: x-id, trusted: false}]}",
            "6:57: Fleet/thing spec.keySources[0].trusted: every client",
        ),
        (
            "Fleet",
            "{keySources: [{kind: path, name: /t/, trusted: true}]}",
            "6:54: Fleet/thing spec.keySources[0].trusted: means nothing to a path",
        ),
        (
            "Fleet",
            "{keySources: [{kind: jwt-claim, name: sub}]}",
            "6:21: Fleet/thing spec.keySources[0]: nothing verifies the claim 'sub': name its issuer in jwt",
        ),
        (
            "Fleet",
            "{keySources: [{kind: jwt-claim, name: a..b}], jwt: [{name: id, issuer: i, jwksFile: /k}]}",
            "6:45: Fleet/thing spec.keySources[0].name: expected the name of a claim",
        ),
        ("Fleet", "{jwt: [{name: id, issuer: i}]}", "6:14: Fleet/thing spec.jwt[0].jwksUrl: expected a jwks_url or a"),
        (
            "Fleet",
            "{jwt: [{name: id, issuer: i, jwksFile: k}]}",
            "6:46: Fleet/thing spec.jwt[0].jwksFile: expected an absolute path, found 'k'",
        ),
        ("Fleet", "{jwt: [{issuer: i, jwksFile: /k}]}", "6:14: Fleet/thing spec.jwt[0].name: is missing"),
        ("Fleet", "{jwt: [{name: id, jwksFile: /k}]}", "6:14: Fleet/thing spec.jwt[0].issuer: is missing"),
        (
            "Fleet",
            "{jwt: [{name: id, issuer: i, jwksFile: /k, clockSkewSeconds: 0}]}",
            "6:68: Fleet/thing spec.jwt[0].clockSkewSeconds: expected 1 to 300, found 0",
        ),
        (
            "Fleet",
            "{jwt: [{name: id, issuer: i, jwksUrl: 'http://id.example'}]}",
            "6:45: Fleet/thing spec.jwt[0].jwksUrl: expected https",
        ),
        ("Fleet", "{defaultCell: a}", "6:21: Fleet/thing spec.defaultCell: expected a cell where"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(kind: str, spec: str, expected: str) -> None:
    (found,) = one(kind, spec)
    assert expected in found


def test_too_many_attributes_are_refused() -> None:
    spec = "{attributes: {" + ", ".join(f"a{number}: b" for number in range(33)) + "}}"
    assert one("Tenant", spec) == ["6:20: Tenant/thing spec.attributes: expected at most 32, found 33"]


def test_many_unknown_fields_are_counted() -> None:
    found = one("Tenant", "{" + ", ".join(f"x{number}: 1" for number in range(25)) + "}")
    assert len(found) == 21
    assert found[-1] == "6:158: Tenant/thing spec: there are 5 more fields that do not exist"


def test_long_names_are_cut_and_get_no_hint() -> None:
    (found,) = one("Tenant", "{" + "tier" * 40 + ": 1}")
    assert found.startswith(f"6:8: Tenant/thing spec.{'tier' * 10}…: no such field: expected cells")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = said(
        fleet_document("{defaultPool: defualt, retryAfterSeconds: 9999, missingKey: x}"),
        document("Cell", "cell-1", "{address: h, port: 0, weight: 0}"),
        document("Pool", "default", "{cells: [cell-1, cell-9]}"),
        document("Tenant", "a b"),
    )
    assert [line.split(": ")[1] for line in found] == [
        "Fleet/shop spec.retryAfterSeconds",
        "Fleet/shop spec.missingKey",
        "Cell/cell-1 spec.port",
        "Cell/cell-1 spec.weight",
        "Tenant/a b metadata.name",
        "Pool/default spec.cells[1]",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1\n", "1:1: expected a resource with apiVersion, kind, metadata, spec; found a list"),
        (f"{HEAD}kind: Pod\n", "2:7: kind: expected Fleet, Cell, Pool or Tenant; found 'Pod'"),
        (
            f"{HEAD}kind: Tenent\n",
            "2:7: kind: expected Fleet, Cell, Pool or Tenant; found 'Tenent': did you mean Tenant",
        ),
        (f"{HEAD}kind: [a]\n", "2:7: kind: expected Fleet, Cell, Pool or Tenant; found a list"),
        (HEAD, "1:1: kind: is missing: expected Fleet, Cell, Pool or Tenant"),
        (
            "kind: Tenant\nmetadata: {name: a}\n",
            "1:1: Tenant/a apiVersion: is missing: expected cellplane.dev/v1alpha1",
        ),
        ("apiVersion: v1\nkind: Tenant\nmetadata: {name: a}\n", "1:13: Tenant/a apiVersion: expected cellplane.dev/v1"),
        (
            f"{HEAD}kind: Tenant\nmetadata: {{name: a}}\nspce: {{}}\n",
            "4:1: Tenant/a spce: no such field: did you mean s",
        ),
        (
            f"{HEAD}kind: Tenant\nmetadata: {{name: a}}\nx: {{}}\n",
            "4:1: Tenant/a x: no such field: expected apiVersion",
        ),
        (f"{HEAD}kind: Tenant\n", "1:1: Tenant metadata.name: is missing"),
        (
            f"{HEAD}kind: Tenant\nmetadata: {{name: 17}}\n",
            "3:18: Tenant metadata.name: expected a text, found the numb",
        ),
        (f"{HEAD}kind: Tenant\nmetadata: a\n", "3:11: Tenant metadata: expected fields, found 'a'"),
        (f"{HEAD}kind: Tenant\nmetadata: {{nam: a}}\n", "Tenant metadata.nam: no such field: did you mean name?"),
    ],
)
def test_what_is_no_resource_is_refused(text: str, expected: str) -> None:
    assert any(expected in str(problem) for problem in read([("f", text)]).problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b\na: c\n", "f:2:1: 'a' stands twice, first in line 1"),
        ("a: [b\n", "f:2:1: this is no YAML: while parsing a flow sequence"),
        ("a: !!python/object/apply:os.system [ls]\n", "f:1:4: tags are not taken, found 'tag:yaml.org,2002:python/"),
        ("a: !!str 1\n", "f:1:4: tags are not taken"),
        ("a: *b\n", "f:1:4: no anchor before is named 'b'"),
        ("a: &b [*b]\n", "f:1:8: the alias 'b' stands inside of what it stands for"),
        ("? [a]\n: b\n", "f:1:3: expected a text as the name of a field: put it in quotes"),
        ("1: b\n", "f:1:1: expected a text as the name of a field"),
        ("a: \x01\n", "this is no YAML: "),
        ("a: \ud800\n", "this is no YAML: "),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, expected: str) -> None:
    found = [str(problem) for problem in read([("f", text)]).problems]
    assert any(expected in line for line in found), found


def test_what_stands_before_broken_yaml_is_judged_too() -> None:
    found = said(document("Cell", "c", "{address: h, port: 0}"), "---\na: [\n")
    assert "spec.port" in found[0]
    assert "this is no YAML" in found[1]


def test_aliases_are_taken() -> None:
    text = document("Cell", "c", "{address: &x h, port: 1, region: *x, zone: *x}")
    (cell,) = manifest(text).resources
    assert (getattr(cell.value, "region", ""), getattr(cell.value, "zone", "")) == ("h", "h")


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_aliases_of_aliases_count_as_what_they_stand_for() -> None:
    (problem,) = read([("f", bomb(9))]).problems
    assert "expected at most 2,000,000 values, aliases written out" in problem.message


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        (ManifestSettings(max_bytes=10), "a: bcdefghi", "expected at most 10 bytes, found 11: split the file"),
        (ManifestSettings(max_documents=2), "--- a\n--- b\n--- c\n", "f:3:1: expected at most 2 documents"),
        (ManifestSettings(max_nodes=3), "a: [b, c]", "f:1:5: expected at most 3 values"),
        (ManifestSettings(max_depth=3), "a: [[[b]]]", "f:1:6: expected at most 3 levels"),
        (ManifestSettings(max_depth=3), "a: &a [b]\nc: [*a]", "f:2:5: expected at most 3 levels"),
        (ManifestSettings(), "[" * 5000, "expected at most 16 levels"),
    ],
)
def test_everything_is_bounded(settings: ManifestSettings, text: str, expected: str) -> None:
    assert any(expected in str(problem) for problem in read([("f", text)], settings).problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", "'1_000'"),
        ("12:30", "'12:30'"),
        ("2026-01-01", "'2026-01-01'"),
        ("0x10", "the number 16"),
        ("0o10", "the number 8"),
        ("-7", "the number -7"),
        ("1e3", "the number 1000.0"),
        (".inf", "the number inf"),
        ("true", "true"),
        ("~", "nothing"),
        ("9" * 100, f"'{'9' * 40}…'"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: str) -> None:
    (found,) = one("Pool", f"{{cells: {text}}}")
    assert found.endswith(f"expected a list, found {value}")


def test_a_resource_stands_once_in_all_files() -> None:
    found = read([("a.yaml", FLEET + CELLS), ("b.yaml", document("Cell", "cell-2", "{address: h, port: 2}"))])
    assert [str(problem) for problem in found.problems] == [
        "b.yaml:5:9: Cell/cell-2 metadata.name: stands twice, first at a.yaml:14:1"
    ]


def test_there_is_one_fleet() -> None:
    (found,) = manifest(FLEET, fleet_document(name="other")).problems
    assert str(found) == (
        "fleet.yaml:11:9: Fleet/other metadata.name: a file describes one fleet, and there is one at fleet.yaml:2:1"
    )


def test_kinds_may_share_a_name() -> None:
    assert not manifest(document("Tenant", "a"), document("Pool", "a", "{cells: [a]}")).problems


def test_empty_documents_are_nothing() -> None:
    assert manifest("---\n---\n", FLEET, "---\n") == replace(manifest("---\n---\n", FLEET))


def test_every_name_that_nothing_has_is_found() -> None:
    found = said(
        fleet_document(
            "{defaultPool: defualt, missingKey: default-cell, defaultCell: cell-3, rules: [{name: a, pool: gold, "
            "match: {tiers: [b]}}], quarantine: {cells: [away]}}",
        ),
        CELLS,
        POOL,
        document("Pool", "other", "{cells: [cell-1, cell-22], strategy: explicit, overflow: none}"),
        document("Tenant", "t", "{pool: defautl, cells: [zzz]}"),
    )
    assert [line.partition(" ")[2] for line in found] == [
        "Fleet/shop spec.defaultPool: no pool is named 'defualt': did you mean default?",
        "Fleet/shop spec.defaultCell: no cell is named 'cell-3': did you mean cell-2?",
        "Fleet/shop spec.rules[0].pool: no pool is named 'gold'",
        "Fleet/shop spec.quarantine.cells[0]: no cell is named 'away'",
        "Pool/other spec.cells[1]: no cell is named 'cell-22': did you mean cell-2?",
        "Pool/other spec.overflow: no pool is named 'none'",
        "Tenant/t spec.pool: no pool is named 'defautl': did you mean default?",
        "Tenant/t spec.cells[0]: no cell is named 'zzz'",
    ]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((FLEET,), ["fleet.yaml:6:7: Fleet/shop spec.defaultPool: no pool is named 'default'"]),
        (
            (fleet_document("{defaultPool: a}"), document("Pool", "a", "{cells: [b]}")),
            ["no cell is named 'b'"],
        ),
        (
            (FLEET, CELLS, POOL, document("Pool", "a", "{cells: [cell-1], strategy: explicit, overflow: a}")),
            ["fleet.yaml:30:55: Pool/a spec.overflow: goes round in a circle: a → a"],
        ),
        (
            (FLEET, CELLS, document("Pool", "default", "{cells: [cell-1, cell-2], strategy: explicit}")),
            ["fleet.yaml:24:43: Pool/default spec.strategy: the default pool has no slots"],
        ),
        (
            (FLEET, CELLS, POOL, document("Tenant", "a", "{jurisdiction: eu}"), document("Tenant", "b")),
            ["fleet.yaml:30:22: Tenant/a spec.jurisdiction: 'a' is under eu, but would be placed under none"],
        ),
        (
            (FLEET, CELLS, POOL, *(document("Tenant", name, "{jurisdiction: eu}") for name in "abc")),
            ["Tenant/a spec.jurisdiction", "Tenant/b spec.jurisdiction", "Tenant/c spec.jurisdiction"],
        ),
    ],
)
def test_what_the_model_refuses_has_its_place(documents: tuple[str, ...], expected: list[str]) -> None:
    found = said(*documents)
    assert len(found) == len(expected)
    assert all(part in line for line, part in zip(found, expected, strict=True)), found


def test_tenants_that_are_refused_are_counted_to_a_bound() -> None:
    assert len(said(FLEET, CELLS, POOL, *(document("Tenant", f"t{n}", "{jurisdiction: eu}") for n in range(30)))) == 20


def test_a_sound_file_has_no_problems() -> None:
    assert said(FLEET, CELLS, POOL, document("Tenant", "a")) == []


def test_a_problem_of_a_pool_by_name_is_found() -> None:
    found = manifest(FLEET, CELLS, POOL)
    assert (
        str(found.problem_at("pools.default.virtual_nodes", "x"))
        == "fleet.yaml:24:7: Pool/default spec.virtualNodes: x"
    )
    assert str(found.problem_at("pools.gold.cells", "x")) == "fleet.yaml: pools.gold.cells: x"
    assert str(found.problem_at("cells", "x")) == "fleet.yaml: cells: x"
    assert str(found.problem_at("cells[1]", "x")) == "fleet.yaml:14:1: Cell/cell-2: x"
    assert str(found.problem_at("fleet.default_pool", "x")) == "fleet.yaml:6:7: Fleet/shop spec.defaultPool: x"
    assert str(manifest().problem_at("cells", "x")) == "cells: x"


def test_a_problem_without_a_place_is_its_message() -> None:
    assert str(Problem("broken")) == "broken"


def test_the_place_of_a_path_is_that_of_its_deepest_part() -> None:
    (found,) = manifest(POOL).documents
    places = [mark_at(found.root, path) for path in ("spec.cells[1]", "spec.cells[7]", "spec.cells.x", "spec")]
    assert [place and (place.line, place.column) for place in places] == [(6, 24), (6, 15), (6, 15), (6, 7)]


def test_without_a_fleet_there_is_no_whole() -> None:
    assert [problem.message for problem in check_whole(manifest(CELLS))] == ["there is no Fleet among the files"]


def test_a_fleet_with_problems_is_not_judged_as_a_whole() -> None:
    found = manifest(fleet_document("{retryAfterSeconds: -1}"), CELLS, POOL)
    assert found.has_fleet
    assert check_whole(found) == ()
