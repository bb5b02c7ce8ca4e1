"""Who of several control planes publishes: one, and what a former one says counts no more."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cellplane.directory import Leadership, StoredPublication
from cellplane.directory.settings import DatabaseSettings
from cellplane.errors import FencedError
from cellplane.model import Fleet
from support.directory import Directory

LEASE_SECONDS = 5.0


class World:
    """Time as the database has it, and as each process counts it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


@dataclass
class Replica:
    """A control plane's access to the shared directory."""

    directory: Directory
    leadership: Leadership

    def publish(self, epoch: int, sha256: str = "aa") -> bool:
        publication = StoredPublication(epoch, sha256, "base", b"", 0)
        return self.directory.publish(publication, epoch, b"bytes", self.leadership)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def replicas(database_url: str, world: World) -> Iterator[list[Replica]]:
    """Three control planes of one directory on PostgreSQL."""
    found = []
    for number in range(3):
        directory = Directory(database_url, world.now, DatabaseSettings(lease_seconds=LEASE_SECONDS))
        found.append(Replica(directory, directory.leadership(f"replica-{number}", lambda: world.seconds)))
    yield found
    for replica in found:
        replica.directory.close()


def test_one_leads_as_long_as_it_says_so(replicas: list[Replica], world: World) -> None:
    assert [replica.leadership.campaign() for replica in replicas] == [True, False, False]
    for _ in range(5):
        world.seconds += LEASE_SECONDS - 1
        assert [replica.leadership.campaign() for replica in replicas] == [True, False, False]
    assert [replica.leadership.token for replica in replicas] == [1, 0, 0]


def test_another_takes_over_when_the_lease_is_over_with_a_larger_token(replicas: list[Replica], world: World) -> None:
    first, second, _ = replicas
    assert first.leadership.campaign()
    world.seconds += LEASE_SECONDS
    assert not first.leadership.leads, "it knows by its own clock"
    assert second.leadership.campaign()
    assert second.leadership.token == 2
    assert not first.leadership.campaign()
    leader = second.directory.leader()
    assert leader is not None
    assert (leader.holder, leader.token, leader.seconds_left) == ("replica-1", 2, LEASE_SECONDS)


def test_what_a_former_leader_publishes_is_refused(replicas: list[Replica], world: World) -> None:
    first, second, _ = replicas
    assert first.leadership.campaign()
    assert first.publish(1)
    # Stopped here, with all that it knows: its own clock stands still too.
    world.seconds += LEASE_SECONDS
    assert second.leadership.campaign()
    assert second.publish(2)
    world.seconds -= LEASE_SECONDS
    assert first.leadership.leads, "so it thinks"
    with pytest.raises(FencedError, match=r"replica-0 with token 1 does not lead any more: replica-1 .* token 2"):
        first.publish(3)
    with pytest.raises(FencedError):
        first.directory.republish(actor="test", leadership=first.leadership)
    assert second.directory.heads() == (0, 2)


def test_a_leader_whose_lease_is_over_publishes_nothing_though_nobody_else_leads(
    replicas: list[Replica], world: World
) -> None:
    first = replicas[0]
    assert first.leadership.campaign()
    world.seconds += LEASE_SECONDS
    with pytest.raises(FencedError):
        first.publish(1)
    assert first.leadership.campaign()
    assert first.leadership.token == 1, "nobody led meanwhile"
    assert first.publish(1)


def test_who_resigns_is_followed_at_once(replicas: list[Replica]) -> None:
    first, second, _ = replicas
    assert first.leadership.campaign()
    first.leadership.resign()
    assert not first.leadership.leads
    assert second.leadership.campaign()
    first.leadership.resign()
    assert second.leadership.campaign(), "one that leads no more takes nothing from the one that does"


def test_epochs_are_published_in_order(replicas: list[Replica], world: World) -> None:
    first, second, _ = replicas
    assert first.leadership.campaign()
    assert first.publish(5)
    first.leadership.resign()
    assert second.leadership.campaign()
    with pytest.raises(FencedError, match="epoch 5 is published already, 4 comes too late"):
        second.publish(4)
    assert not second.publish(5, "bb"), "an epoch has one content"
    assert second.publish(5)


@pytest.mark.parametrize("seed", range(5))
def test_never_two_publish_under_one_token_whatever_happens(replicas: list[Replica], world: World, seed: int) -> None:
    """Replicas campaign, stop, resign and publish at random; each has its own idea of the time."""
    random_ = random.Random(seed)
    published: list[tuple[int, int]] = []
    holders: dict[int, int] = {}
    refused = 0
    for step in range(1, 120):
        number = random_.randrange(3)
        replica = replicas[number]
        match random_.choice(("campaign", "campaign", "publish", "publish", "resign", "wait")):
            case "campaign":
                replica.leadership.campaign()
            case "resign" if random_.random() < 0.3:
                replica.leadership.resign()
            case "wait":
                world.seconds += random_.uniform(0, LEASE_SECONDS)
            case "publish":
                token = replica.leadership.token
                try:
                    assert replica.publish(step)
                except FencedError:
                    refused += 1
                else:
                    published.append((step, token))
                    assert holders.setdefault(token, number) == number
    assert refused, "the scenario tells nothing"
    assert len(published) > 3
    assert [token for _, token in published] == sorted(token for _, token in published)


def test_a_sqlite_directory_is_led_by_whoever_opened_it_last(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    first = Directory(path)
    leadership = first.leadership("first", lambda: 0.0)
    assert leadership.campaign()
    second = Directory(path)
    other = second.leadership("second", lambda: 0.0)
    assert other.campaign()
    assert other.token == leadership.token + 1
    second.put_fleet(Fleet("shop"), actor="test")
    with pytest.raises(FencedError):
        first.republish(actor="test", leadership=leadership)
    first.close()
    second.close()
