"""Halves that find each other, and what is reported of them: bounded in number, size and time, and without values."""

import json
from typing import Any

import pytest

from cellplane.shadow.answer import Answer, parse
from cellplane.shadow.comparison import Difference, Outcome, Verdict, compare
from cellplane.shadow.pairs import Pair, Pairs
from cellplane.shadow.report import (
    MAX_COUNTED,
    MAX_SAMPLES,
    MAX_SAMPLES_OF_ONE,
    MAX_TENANTS,
    MAX_TENANTS_OF_ONE,
    SAMPLE_SECONDS,
    ShadowReport,
)
from unit.shadow.answers import answer

MISMATCH = Verdict(Outcome.MISMATCH, (Difference("/a", "number", "text of 3"),))


def test_an_answer_is_read_from_lines_and_a_body() -> None:
    told = parse(
        b"pair=ab\nside=cell\ntenant=acme\ncell=cell-1\nshadow=cell-9\nignored=/a=b\nignored=/items/*\nmethod=GET\n"
        b"path=/x\ntype=text/plain\nencoding=gzip\nstatus=200\nlength=9\ndigest=00ff\n\nline\n\nend"
    )
    assert told == Answer(
        pair="ab",
        side="cell",
        tenant="acme",
        shadow="cell-9",
        status=200,
        content_type="text/plain",
        encoding="gzip",
        length=9,
        digest="00ff",
        body=b"line\n\nend",
        cell="cell-1",
        method="GET",
        path="/x",
        ignored=("/a=b", "/items/*"),
    )
    assert told.is_whole


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"pair=ab\nside=cell\ncell=c\nshadow=d\nstatus=200\nlength=0",
        b"pair=ab\nside=other\ncell=c\nshadow=d\nstatus=200\nlength=0\n\n",
        b"pair=ab\nside=cell\nshadow=d\nstatus=200\nlength=0\n\n",
        b"pair=ab\nside=cell\ncell=c\nstatus=200\nlength=0\n\n",
        b"pair=ab\nside=cell\ncell=c\nshadow=d\nstatus=x\nlength=0\n\n",
        b"pair=ab\nside=cell\ncell=c\nshadow=d\nstatus=200\n\n",
        b"x=y\n" * 100 + b"\n",
    ],
)
def test_what_is_no_answer_is_refused(datagram: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid literal"):
        parse(datagram)


@pytest.mark.parametrize("first", ["cell", "shadow"])
def test_halves_are_brought_together_whichever_comes_first(first: str) -> None:
    pairs = Pairs(wait_seconds=20, most=10)
    halves = {side: answer(side, 1) for side in ("cell", "shadow")}
    assert pairs.take(halves.pop(first), now=0) == []
    (last,) = halves.values()
    assert pairs.take(last, now=19) == [Pair(answer("cell", 1), answer("shadow", 1))]
    assert len(pairs) == 0


def test_it_says_for_how_long_the_oldest_half_has_waited() -> None:
    pairs = Pairs(wait_seconds=20, most=10)
    assert pairs.oldest_seconds(now=7) == 0
    pairs.take(answer(pair="1"), now=10)
    pairs.take(answer(pair="2"), now=14)
    assert pairs.oldest_seconds(now=15) == 5
    pairs.take(answer("shadow", pair="1"), now=16)
    assert pairs.oldest_seconds(now=17) == 3
    pairs.expire(now=34)
    assert pairs.oldest_seconds(now=34) == 0


def test_a_half_waits_for_so_long_and_no_more_than_so_many_wait() -> None:
    pairs = Pairs(wait_seconds=20, most=2)
    for number in range(3):
        ended = pairs.take(answer(pair=str(number)), now=number)
        assert [pair.cell.pair for pair in ended] == (["0"] if number == 2 else [])
    assert pairs.expire(now=20.9) == []
    assert pairs.expire(now=21) == [Pair(answer(pair="1"), None)]
    assert pairs.take(answer("shadow", pair="3"), now=50) == [Pair(answer(pair="2"), None)]
    assert pairs.expire(now=100) == []
    assert len(pairs) == 0


@pytest.mark.parametrize("other", [{"tenant": "globex"}, {"shadow": "cell-8"}, {"side": "cell"}])
def test_what_is_one_tenants_is_never_compared_with_anothers(other: dict[str, str]) -> None:
    pairs = Pairs(wait_seconds=20, most=10)
    pairs.take(answer(), now=0)
    half = answer(**{"side": "shadow", **other})
    ended = pairs.take(half, now=1)
    assert all(pair.shadow is None for pair in ended)
    assert len(pairs) == 0


def test_a_report_counts_outcomes_and_shows_samples_without_values() -> None:
    report = ShadowReport()
    secret = {"card": "4242-4242", "user": {"bob@example.com": 17}}
    cell = answer(value=secret, path="/users/8f3a-bob/orders", method="POST")
    shadow = answer("shadow", {"card": "1111-1111", "user": {"bob@example.com": 18}}, status=201)
    report.note(cell, shadow, compare(cell, shadow), 100.0)
    for outcome in (Outcome.MATCH, Outcome.MATCH, Outcome.UNANSWERED, Outcome.TOO_LARGE, Outcome.SKIPPED):
        report.note(cell, None, Verdict(outcome), 100.0)
    (told,) = report.to_json(101.0)
    assert told == {
        "cell": "cell-1",
        "shadow": "cell-9",
        "match": 2,
        "mismatch": 1,
        "unanswered": 1,
        "too_large": 1,
        "skipped": 1,
        "samples": [
            {
                "at": 100.0,
                "tenant": "acme",
                "method": "POST",
                "path": "/users/*/orders",
                "cell_status": 200,
                "shadow_status": 201,
                "differences": [
                    {"path": "status", "cell": "200", "shadow": "201"},
                    {"path": "/card", "cell": "text of 9", "shadow": "text of 9"},
                    {"path": "/user/*", "cell": "number", "shadow": "number"},
                ],
            }
        ],
        "tenants": [
            {"tenant": "acme", "match": 2, "mismatch": 1, "unanswered": 1, "too_large": 1, "skipped": 1},
        ],
    }
    for value in ("4242", "1111", "bob", "17", "18"):
        assert value not in json.dumps(told)
    assert [counts[Outcome.MATCH] for _, _, counts in report.counts()] == [2]


def test_a_sample_is_shown_for_an_hour() -> None:
    report = ShadowReport()
    report.note(answer(), answer("shadow"), MISMATCH, 100.0)
    assert len(report.to_json(99.9 + SAMPLE_SECONDS)[0]["samples"]) == 1
    (told,) = report.to_json(100.0 + SAMPLE_SECONDS)
    assert (told["samples"], told["mismatch"]) == ([], 1)


def test_samples_are_bounded_and_the_last_are_kept() -> None:
    report = ShadowReport()
    for number in range(10):
        report.note(answer(), answer("shadow"), MISMATCH, number)
    (told,) = report.to_json(10)
    assert [sample["at"] for sample in told["samples"]] == list(range(10 - MAX_SAMPLES_OF_ONE, 10))
    for number in range(2 * MAX_COUNTED):
        cell = answer(cell=f"cell-{number:03}", method="X" * 900, path="/a" * 900, tenant="t" * 128)
        report.note(cell, answer("shadow"), MISMATCH, 10 + number)
    told_all = report.to_json(100)
    assert len(told_all) == MAX_COUNTED
    assert sum(len(one["samples"]) for one in told_all) == MAX_SAMPLES
    assert told_all[-1]["samples"]
    assert len(json.dumps(told_all)) < 32 * 1024


def tenants_of(told: dict[str, Any]) -> list[str]:
    return [counts["tenant"] for counts in told["tenants"]]


def test_a_report_counts_by_tenant_too_where_there_is_one() -> None:
    report = ShadowReport()
    for tenant, outcome in (
        ("globex", Outcome.MATCH),
        ("acme", Outcome.UNANSWERED),
        ("", Outcome.MATCH),
        ("acme", Outcome.SKIPPED),
        ("acme", Outcome.UNANSWERED),
    ):
        report.note(answer(tenant=tenant), None, Verdict(outcome), 100.0)
    report.note(answer(tenant="acme", cell="cell-2"), answer("shadow"), MISMATCH, 100.0)
    one, other = report.to_json(100.0)
    none = dict.fromkeys((outcome.field for outcome in Outcome), 0)
    assert (one["match"], one["unanswered"], one["skipped"]) == (2, 2, 1)
    assert one["tenants"] == [
        {"tenant": "acme", **none, "unanswered": 2, "skipped": 1},
        {"tenant": "globex", **none, "match": 1},
    ]
    assert other["tenants"] == [{"tenant": "acme", **none, "mismatch": 1}]


def test_the_tenant_of_which_nothing_was_compared_for_longest_is_forgotten_and_begins_anew() -> None:
    report = ShadowReport()
    for number in range(MAX_TENANTS_OF_ONE):
        report.note(answer(tenant=f"t-{number:02}"), None, Verdict(Outcome.MATCH), 100.0)
    for tenant in ("t-00", "new", "t-01"):
        report.note(answer(tenant=tenant), None, Verdict(Outcome.MATCH), 100.0)
    (told,) = report.to_json(100.0)
    assert told["match"] == MAX_TENANTS_OF_ONE + 3
    kept = [f"t-{number:02}" for number in range(MAX_TENANTS_OF_ONE) if number != 2]
    assert tenants_of(told) == ["new", *kept]
    assert {counts["tenant"]: counts["match"] for counts in told["tenants"]} == {
        **dict.fromkeys(("new", *kept), 1),
        "t-00": 2,
    }


def test_tenants_of_all_pairs_are_bounded_and_the_last_are_kept() -> None:
    report = ShadowReport()
    for pair in range(2 * MAX_COUNTED):
        for number in range(MAX_TENANTS_OF_ONE):
            cell = answer(cell=f"cell-{pair:03}", tenant=f"{number:0128}")
            for _ in range(3):
                report.note(cell, None, Verdict(Outcome.UNANSWERED), 100.0)
    told = report.to_json(100.0)
    full, rest = divmod(MAX_TENANTS, MAX_TENANTS_OF_ONE)
    sizes = [0] * (MAX_COUNTED - full - 1) + [rest] + [MAX_TENANTS_OF_ONE] * full
    assert [len(one["tenants"]) for one in told] == sizes
    assert tenants_of(told[-full - 1]) == [f"{number:0128}" for number in range(MAX_TENANTS_OF_ONE)][-rest:]
    assert len(json.dumps(told)) < 64 * 1024
