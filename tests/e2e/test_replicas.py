"""Three control planes on one PostgreSQL: one publishes, and whatever becomes of it, no acknowledged change is lost."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import eventually
from e2e.replicas import LEASE_SECONDS, RECOVERY_SECONDS, Replicas, replicas_of

SEED = 1
SOURCE = Path(__file__).parent / "other_clock.c"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with replicas_of(tmp_path) as found:
        yield found


def test_one_publishes_and_all_give_out_the_same(replicas: Replicas) -> None:
    replicas.fill()
    with replicas.writing(SEED):
        eventually(lambda: len(replicas.acknowledged) > 20, "changes are acknowledged", seconds=60)
    last = replicas.put("/v1/tenants/last", {})
    replicas.wait_published(last, replicas.all)
    assert len({replicas.published(replica) for replica in replicas.all}) == 1
    assert sorted(replica.metric("cellplane_leads") for replica in replicas.all) == [0, 0, 1]
    replicas.check()


@pytest.mark.alone
@pytest.mark.parametrize("how", ["killed", "stopped", pytest.param("cut off", marks=pytest.mark.long)])
def test_another_takes_over_and_nothing_acknowledged_is_lost(replicas: Replicas, how: str) -> None:
    replicas.fill()
    first = replicas.wait_leader()
    others = [replica for replica in replicas.all if replica is not first]
    with replicas.writing(SEED):
        time.sleep(1)
        began = time.monotonic()
        if how == "killed":
            first.kill()
        elif how == "stopped":
            first.send(signal.SIGSTOP)
        else:
            first.relay.cut()
        second = replicas.wait_leader(other_than=first)
        replicas.wait_published(max(replicas.acknowledged.values()), others, seconds=RECOVERY_SECONDS)
        assert time.monotonic() - began < RECOVERY_SECONDS
        time.sleep(1)
        if how == "killed":
            first.start()
        elif how == "stopped":
            first.send(signal.SIGCONT)
        else:
            first.relay.mend()
        time.sleep(2)
    last = replicas.put("/v1/tenants/last", {})
    replicas.wait_published(last, replicas.all)
    assert replicas.wait_leader() is second, "who comes back follows"
    assert len({replicas.published(replica) for replica in replicas.all}) == 1
    replicas.check()


@pytest.mark.long
def test_a_database_that_dies_stops_writes_and_nothing_else(replicas: Replicas) -> None:
    replicas.fill()
    before = replicas.published(replicas.all[0])
    with replicas.writing(SEED):
        time.sleep(1)
        replicas.postgres.kill()
        time.sleep(LEASE_SECONDS + 1)
        assert all(replicas.published(replica)[0] >= before[0] for replica in replicas.all), "tables are given out"
        replicas.postgres.start()
        count = len(replicas.acknowledged)
        eventually(lambda: len(replicas.acknowledged) > count + 5, "writes go on", seconds=RECOVERY_SECONDS * 2)
    last = replicas.put("/v1/tenants/last", {})
    replicas.wait_published(last, replicas.all)
    replicas.check()


@pytest.mark.long
def test_clocks_that_differ_by_minutes_make_no_difference(tmp_path: Path) -> None:
    library = tmp_path / "other_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    environs = tuple({"LD_PRELOAD": str(library), "OTHER_CLOCK_SECONDS": str(skew)} for skew in (-300, 0, 300))
    with replicas_of(tmp_path, environs) as replicas:
        replicas.fill()
        with replicas.writing(SEED):
            for _ in range(2):
                leader = replicas.wait_leader()
                leader.kill()
                replicas.wait_leader(other_than=leader)
                leader.start()
        last = replicas.put("/v1/tenants/last", {})
        replicas.wait_published(last, replicas.all)
        times = [row[0] for row in replicas.rows("SELECT at FROM changes ORDER BY epoch")]
        assert times == sorted(times), "the log goes by the database's clock"
        replicas.check()
