"""A bucket as a target, against moto's server: conditional writes, races, crashes, and a store that is not there."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cellplane.errors import NewerTableError, TargetError
from cellplane.faults import FAULT_VARIABLE
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.targets.s3 import Bucket, S3Target
from cellplane.routing import RoutingTable
from unit.publishing.buckets import CREDENTIALS, client_of, make_bucket, object_store
from unit.publishing.tables import base_of, overlaid, signed

_numbers = count()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with object_store() as url:
            yield url


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    name = f"tables-{next(_numbers)}"
    make_bucket(endpoint, name)
    return Bucket(name, "shop/", endpoint)


def target_of(bucket: Bucket, **overrides: Any) -> S3Target:
    return S3Target(bucket, PublishingSettings(s3_connect_seconds=1, s3_read_seconds=2, **overrides))


def publish(bucket: Bucket, table: RoutingTable, **overrides: Any) -> None:
    target_of(bucket, **overrides).publish(signed(table, 1), table)


def get(bucket: Bucket, name: str) -> Any:
    assert bucket.endpoint is not None
    return client_of(bucket.endpoint).get_object(Bucket=bucket.name, Key=bucket.prefix + name)


def published(bucket: Bucket) -> RoutingTable:
    """What a router would find."""
    manifest = Manifest.parse(get(bucket, "manifest")["Body"].read())
    table = RoutingTable.of_publication(
        b"".join(get(bucket, part.file_name)["Body"].read() for part in manifest.statement.parts)
    )
    manifest.statement.check_describes(table)
    return table


def names(bucket: Bucket) -> list[str]:
    assert bucket.endpoint is not None
    found = client_of(bucket.endpoint).list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix)
    return sorted(item["Key"].removeprefix(bucket.prefix) for item in found["Contents"])


def test_a_table_is_there_and_a_cdn_is_told_how_long_it_may_keep_it(bucket: Bucket) -> None:
    for table in (base_of(3), overlaid(3, 5), overlaid(3, 6)):
        publish(bucket, table)
        assert published(bucket).tag == table.tag
    assert get(bucket, "manifest")["CacheControl"] == "public, max-age=1, stale-if-error=604800"
    part = signed(base_of(3)).statement.base
    assert get(bucket, part.file_name)["CacheControl"] == "public, max-age=31536000, immutable"


def test_old_objects_go_beyond_a_bound(bucket: Bucket) -> None:
    for table in (base_of(1), base_of(3), *(overlaid(3, epoch) for epoch in range(4, 9))):
        publish(bucket, table, kept_bases=1, kept_overlays=2)
    assert [name.rsplit("-", 1)[0] for name in names(bucket)] == ["base-3", "manifest", "overlay-7", "overlay-8"]


def test_a_publisher_that_has_been_overtaken_changes_nothing(bucket: Bucket) -> None:
    publish(bucket, overlaid(3, 9))
    before = names(bucket)
    for table, reason in ((base_of(8), "newer than 8"), (overlaid(3, 9, "cell-2"), "another table of epoch 9")):
        with pytest.raises(NewerTableError, match=reason):
            publish(bucket, table)
    assert names(bucket) == before
    assert published(bucket).tag == overlaid(3, 9).tag


@pytest.mark.parametrize("there", [None, 3])
def test_one_that_is_overtaken_between_its_look_and_its_write_does_not_write(
    bucket: Bucket, there: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there is not None:
        publish(bucket, base_of(there))
    stale = target_of(bucket)
    look = stale._manifest
    looks: list[object] = []

    def look_then_be_overtaken() -> tuple[bytes | None, str | None]:
        found = look()
        if not looks:
            publish(bucket, overlaid(3, 9))
        looks.append(found)
        return found

    monkeypatch.setattr(stale, "_manifest", look_then_be_overtaken)
    with pytest.raises(NewerTableError, match="newer than 8"):
        stale.publish(signed(overlaid(3, 8), 1), overlaid(3, 8))
    assert published(bucket).epoch == 9
    assert len(looks) == 2, "it looked again after its write was refused"


def test_of_publishers_that_race_the_newest_wins(bucket: Bucket) -> None:
    failures: dict[int, Exception] = {}

    def one(epoch: int) -> None:
        try:
            publish(bucket, overlaid(3, epoch), s3_races=20)
        except NewerTableError as error:
            failures[epoch] = error

    threads = [threading.Thread(target=one, args=(epoch,)) for epoch in (9, 5, 8, 6, 7, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published(bucket).epoch == 9
    assert 9 not in failures


@pytest.mark.parametrize(
    ("fault", "expected"), [("publish.s3.object", 3), ("publish.s3.objects", 3), ("publish.s3.manifest", 5)]
)
def test_killed_at_any_point_the_bucket_has_the_old_table_or_the_new_one(
    bucket: Bucket, fault: str, expected: int
) -> None:
    publish(bucket, base_of(3))
    code = (
        "import sys; from unit.publishing.test_s3_target import Bucket, publish; "
        "from unit.publishing.tables import overlaid; publish(Bucket(*sys.argv[1:]), overlaid(3, 5))"
    )
    assert bucket.endpoint is not None
    done = subprocess.run(
        [sys.executable, "-c", code, bucket.name, bucket.prefix, bucket.endpoint],
        env={**os.environ, **CREDENTIALS, FAULT_VARIABLE: fault, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert published(bucket).epoch == expected
    publish(bucket, overlaid(3, 5))
    assert published(bucket).epoch == 5, "the next publisher goes on"


def test_a_store_that_is_not_there_or_has_no_such_bucket_says_so(bucket: Bucket, endpoint: str) -> None:
    for other in (Bucket("tables-none", "", endpoint), Bucket(bucket.name, "", "http://127.0.0.1:9")):
        with pytest.raises(TargetError, match="cannot be written"):
            publish(other, base_of(3))
