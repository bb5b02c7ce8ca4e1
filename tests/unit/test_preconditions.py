"""The version that a change is for, and answers to requests that come twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cellplane.directory import Author
from cellplane.directory.answers import RequestKey
from cellplane.directory.preconditions import ANY, Precondition, etag
from cellplane.errors import KeyReusedError, PreconditionError, ValidationError
from cellplane.model import Cell, Fleet, Pool, Tenant
from support.directory import Directory

ANN = Author("ann", "a drill")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(location: Path | str, clock: Clock) -> Iterator[Directory]:
    directory = Directory(location, clock)
    directory.put_fleet(Fleet("shop"), actor="test")
    directory.put_cell(Cell("cell-1", "127.0.0.1", 1), actor="test")
    directory.put_pool(Pool("default", ("cell-1",)), actor="test")
    directory.put_tenant(Tenant("acme"), actor="test")
    yield directory
    directory.close()


@pytest.mark.parametrize(
    ("header", "version", "is_met"),
    [
        ('"4"', 4, True),
        ('"3", "4"', 4, True),
        ('W/"4"', 4, True),
        ("*", 4, True),
        ("*", None, False),
        ('"3"', 4, False),
        ('"4"', None, False),
        ('"04x"', 4, False),
        ('""', 4, False),
        ('"' + "9" * 40 + '"', 4, False),
    ],
)
def test_if_match_names_the_version_that_is_changed(header: str, version: int | None, is_met: bool) -> None:
    precondition = Precondition.of(header, None)
    if is_met:
        precondition.check("it", version)
    else:
        with pytest.raises(PreconditionError):
            precondition.check("it", version)


@pytest.mark.parametrize("header", ["4", "", '"4', '"4" "5"', "**", '"4",'])
def test_a_header_that_is_no_etag_is_refused(header: str) -> None:
    with pytest.raises(ValidationError, match=r"If-Match: expected an ETag"):
        Precondition.of(header, None)


def test_if_none_match_asks_that_there_is_none() -> None:
    Precondition.of(None, "*").check("it", None)
    with pytest.raises(PreconditionError, match="there already, at version 4"):
        Precondition.of(None, "*").check("it", 4)
    with pytest.raises(ValidationError, match="If-None-Match"):
        Precondition.of(None, '"4"')
    assert Precondition.of(None, None) == ANY


@pytest.mark.parametrize(
    ("kind", "name", "version"),
    [("fleet", "shop", 1), ("cell", "cell-1", 2), ("pool", "default", 3), ("tenant", "acme", 4)],
)
def test_every_kind_has_the_epoch_of_its_last_change_as_its_version(
    directory: Directory, kind: str, name: str, version: int
) -> None:
    with directory.snapshot() as snapshot:
        assert snapshot.version(kind, name) == version
        assert snapshot.versions(kind, [name]) == {name: version}
    with directory.changing(ANN) as transaction:
        transaction.require(kind, name, Precondition.of(etag(version), None))
    with (
        pytest.raises(PreconditionError, match=rf"{kind} '{name}' is at version {version} and was changed since"),
        directory.changing(ANN) as transaction,
    ):
        transaction.require(kind, name, Precondition.of(etag(version - 1), None))


def test_of_two_changes_of_one_version_one_is_done(directory: Directory) -> None:
    seen = directory.tenant("acme").version
    with directory.changing(ANN) as transaction:
        transaction.require("tenant", "acme", Precondition(frozenset({seen})))
        placement = transaction.change_tenant("acme", {"tier": "gold"})
    assert placement.record.version == directory.tenant("acme").version == placement.epoch == 5
    with pytest.raises(PreconditionError), directory.changing(ANN) as transaction:  # noqa: PT012
        transaction.change_tenant("acme", {"tier": "iron"})
        transaction.require("tenant", "acme", Precondition(frozenset({seen})))
    assert directory.tenant("acme").tenant.tier == "gold"
    assert directory.epoch() == 5


def test_a_change_that_changes_nothing_keeps_the_version(directory: Directory) -> None:
    directory.put_tenant(Tenant("acme"), actor="test")
    directory.put_cell(Cell("cell-1", "127.0.0.1", 1), actor="test")
    assert directory.tenant("acme").version == 4
    with directory.snapshot() as snapshot:
        assert snapshot.version("cell", "cell-1") == 2


def test_the_log_says_who_and_why(directory: Directory) -> None:
    with directory.changing(ANN) as transaction:
        transaction.change_tenant("acme", {"tier": "gold"})
    (change,) = directory.changes(limit=9, after=4)
    assert (change.actor, change.reason) == ("ann", "a drill")


def test_an_answer_is_kept_with_what_it_is_about(directory: Directory) -> None:
    key = RequestKey("ann", "key-1", "digest")
    with directory.changing(ANN) as transaction:
        assert transaction.find_answer(key) is None
        transaction.change_tenant("acme", {"tier": "gold"})
        transaction.keep_answer(key, {"epoch": 5}, 60)
    with directory.changing(ANN) as transaction:
        assert transaction.find_answer(key) == {"epoch": 5}
        assert transaction.find_answer(RequestKey("bob", "key-1", "digest")) is None, "keys of others are others"
        with pytest.raises(KeyReusedError, match="key-1"):
            transaction.find_answer(RequestKey("ann", "key-1", "another"))


def test_an_answer_is_not_kept_where_the_change_is_not_done(directory: Directory) -> None:
    key = RequestKey("ann", "key-1", "digest")
    with pytest.raises(ValidationError), directory.changing(ANN) as transaction:  # noqa: PT012
        transaction.keep_answer(key, {"epoch": 5}, 60)
        transaction.change_tenant("acme", {"shard": ("nowhere",)})
    with directory.changing(ANN) as transaction:
        assert transaction.find_answer(key) is None


def test_answers_are_forgotten_in_time(directory: Directory, clock: Clock) -> None:
    old, new = RequestKey("ann", "old", "digest"), RequestKey("ann", "new", "digest")
    with directory.changing(ANN) as transaction:
        transaction.keep_answer(old, {"epoch": 5}, 60)
    clock.now += timedelta(seconds=61)
    with directory.changing(ANN) as transaction:
        transaction.keep_answer(new, {"epoch": 6}, 60)
    with directory.changing(ANN) as transaction:
        assert transaction.find_answer(old) is None
        assert transaction.find_answer(new) == {"epoch": 6}
