"""What judges made-up requests: it says what is wrong, so that a fuzzer that finds nothing has looked."""

import random
from pathlib import Path

import pytest

from cellplane.model import KeySourceKind
from cellplane.routing import RoutingTable
from fuzz import attack, cell
from fuzz.attack import Attacker
from fuzz.cell import Cell, Violations
from fuzz.corpus import Corpus, build
from fuzz.draft import Draft, Says, Shape
from fuzz.fleet import CELLS, TENANTS, VARIANTS
from fuzz.generate import CLASSES, draft
from fuzz.wire import Answer

PORTS = dict.fromkeys(CELLS, 1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build()


@pytest.fixture
def judge(tmp_path: Path) -> Cell:
    table = RoutingTable(VARIANTS[1].table(PORTS, Path("/jwks.json")))
    return Cell("cell-1", table, Violations(tmp_path / "violations", "cell-1"))


def seen(judge: Cell, **changes: list[bytes]) -> dict[str, list[bytes]]:
    tenant = next(tenant for tenant in TENANTS if judge.cell_of(tenant.encode()) == "cell-1").encode()
    sound = {"x-cell-id": [b"cell-1"], "x-cell-epoch": [b"1"], "x-tenant-id": [tenant], "x-fuzz": [b"7.wary." + tenant]}
    return {**sound, **{name.replace("__", "-"): value for name, value in changes.items()}}


def test_a_cell_lets_in_what_is_its_own(judge: Cell) -> None:
    assert judge.judge(seen(judge)) is None


def test_a_cell_says_what_must_not_have_come(judge: Cell) -> None:
    other = next(tenant for tenant in TENANTS if judge.cell_of(tenant.encode()) != "cell-1").encode()
    wrong: list[dict[str, list[bytes]]] = [
        {"x__cell__id": [b"cell-2"]},
        {"x__cell__id": [b"cell-1", b"cell-1"]},
        {"x__cell__id": []},
        {"x__cell__epoch": []},
        {"x__cell__epoch": [b"1", b"2"]},
        {"x__cell__claim__0": [b"a"]},
        {"x_cell_id": [b"cell-1"]},
        {"x__tenant__id": [other], "x__fuzz": [b"7.wary." + other]},
        {"x__tenant__id": [b"a b"]},
        {"x__tenant__id": [b"a", b"b"]},
        {"x__fuzz": []},
        {"x__fuzz": [b"7.wary.-"]},
        {"x__fuzz": [b"7.wary." + other]},
    ]
    for changes in wrong:
        assert judge.judge(seen(judge, **changes)) is not None, changes


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"content-length": [b"1"], "transfer-encoding": [b"chunked"]}, b"0\r\n\r\n"),
        ({"content-length": [b"1", b"1"]}, b"x"),
        ({"content-length": [b"+1"]}, b"x"),
        ({"transfer-encoding": [b"xchunked"]}, b"0\r\n\r\n"),
        ({"transfer-encoding": [b"chunked"]}, b"5;a=b\r\n12345\r\n0\r\n\r\n"),
        ({"transfer-encoding": [b"chunked"]}, b"0\r\na: b\r\n\r\n"),
    ],
)
def test_a_cell_reads_no_body_that_could_be_read_in_two_ways(headers: dict[str, list[bytes]], data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        cell._body(headers, data)


def test_requests_follow_from_seed_and_number(corpus: Corpus) -> None:
    first = [draft(5, number, corpus).render() for number in range(200)]
    assert first == [draft(5, number, corpus).render() for number in range(200)]
    assert first != [draft(6, number, corpus).render() for number in range(200)]


def test_every_trick_is_played(corpus: Corpus) -> None:
    played = {trick for number in range(8000) for trick in draft(1, number, corpus).tricks}
    wanted = {f"{name}.{trick.__name__}" for name, (_, tricks) in CLASSES.items() for _, trick in tricks}
    assert wanted <= played


def made(corpus: Corpus, tenant: str = "tenant-03") -> Draft:
    found = Draft(7, VARIANTS[0], corpus, random.Random(1))
    found.says[KeySourceKind.SUBDOMAIN] = Says((tenant,))
    found.tricks.append("address.subdomain")
    return found


def served(number: int, tenant: str, **more: str) -> Answer:
    members = {"x-fuzz": f"{number}.trusting.{tenant}", "x-tenant-id": tenant, "path": "/x", "wrong": "null", **more}
    text = ", ".join(f'"{name}": ' + (value if name == "wrong" else f'"{value}"') for name, value in members.items())
    return Answer(200, {cell.ANSWERED_BY: "cell-1"}, f"{{{text}}}".encode())


REFUSED = Answer(400, {"content-type": "application/problem+json", "content-length": "9"}, b'{"code": "bad-request"}')


def failures(each: Draft, answer: Answer) -> list[str]:
    attacker = Attacker(1, each.corpus, {})
    attacker._judge(each, answer)
    assert attacker.tally.requests == 1
    return [failure["reason"] for failure in attacker.tally.failures]


def test_an_answer_is_judged_by_what_may_become_of_its_request(corpus: Corpus) -> None:
    sound = made(corpus)
    assert failures(sound, served(7, "tenant-03")) == []
    assert failures(sound, served(8, "tenant-03")) == ["the answer is of request 8.trusting.tenant-03"]
    assert failures(sound, served(7, "tenant-03", wrong='"it is wrong"')) == ["it is wrong"]
    assert failures(sound, REFUSED) == ["refused, and is sound"]
    odd = made(corpus)
    odd.shape = Shape.ODD
    assert failures(odd, REFUSED) == []
    assert failures(odd, Answer(503, {}, b"")) == ["the router answered 503"]
    assert failures(odd, Answer(501, {}, b"")) == ["the router answered 501"]
    assert failures(odd, Answer(302, {}, b"")) == ["nobody's answer of status 302"]
    plain = Answer(400, {"content-length": "1"}, b"x")
    assert failures(odd, plain) == ["a refusal of 400 that is no problem document"]


def test_what_is_refused_may_be_answered_by_nobody(corpus: Corpus) -> None:
    refused = made(corpus)
    refused.is_refused = True
    assert refused.outcome().tenants == ()
    assert refused.marker() == b"7.trusting.-"
    assert made(corpus, "nobody").outcome().tenants == ()


def test_the_cell_must_read_the_tenant_in_the_path_that_the_router_read_there(corpus: Corpus) -> None:
    each = made(corpus)
    each.says = {KeySourceKind.PATH: Says(("tenant-03",))}
    assert attack._wrong_path(each, "tenant-03", "/t/tenant-03/x") is None
    assert attack._wrong_path(each, "tenant-03", "/t/tenant-04/../tenant-03") is not None
    assert attack._wrong_path(each, "tenant-03", "/t/tenant-031") is not None
