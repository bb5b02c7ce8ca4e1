"""A tenant's objects go from one bucket to another of a real server of S3's interface, and back."""

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cellplane.moves.carriers.carrier import Load, Way
from cellplane.moves.carriers.prefix import PrefixCarrier
from cellplane.moves.carriers.s3 import BucketPrefix, Place, place_of
from cellplane.moves.errors import MoveError, NotEmptyError, NotInTimeError, NotMovableError, StoreError
from cellplane.moves.settings import CarrierSettings
from support.depth import examples
from unit.publishing.buckets import CREDENTIALS, client_of, object_store

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes of a part which is not the last."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with object_store() as endpoint:
        yield endpoint


class Buckets:
    """The buckets of two cells."""

    def __init__(self, endpoint: str, number: int) -> None:
        self.endpoint = endpoint
        self.client: Any = client_of(endpoint)
        self.names = (f"cell-1-{number}", f"cell-2-{number}")
        for name in self.names:
            self.client.create_bucket(Bucket=name)

    def carrier(self, tenant: str = "acme", move: str = "m1", **settings: object) -> PrefixCarrier[BucketPrefix]:
        limits = CarrierSettings(**{"part_bytes": PART_BYTES, **settings})  # type: ignore[arg-type]
        places = [Place(name, "blobs/", self.endpoint, "us-east-1") for name in self.names]
        source, target = (BucketPrefix(place, tenant, limits) for place in places)
        return PrefixCarrier("objects", move, source, target, limits)

    def put(self, cell: int, key: str, data: bytes, **named: Any) -> None:
        self.client.put_object(Bucket=self.names[cell], Key=f"blobs/{key}", Body=data, **named)

    def objects(self, cell: int) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.names[cell], Prefix="blobs/").get("Contents", [])
        keys = [item["Key"] for item in found]
        return {
            key.removeprefix("blobs/"): self.client.get_object(Bucket=self.names[cell], Key=key)["Body"].read()
            for key in keys
        }


_numbers = iter(range(1_000))


@pytest.fixture
def buckets(store: str, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Buckets(store, next(_numbers))


def told(_: int) -> None:
    """Nobody listens."""


def test_a_prefix_goes_over_in_rounds_and_only_what_was_changed_goes_again(buckets: Buckets) -> None:
    buckets.put(0, "acme/a", b"a", ContentType="text/plain", Metadata={"by": "ada"})
    buckets.put(0, "acme/deep/b", b"b")
    buckets.put(0, "acme-2/c", b"another's")
    carrier = buckets.carrier()
    assert carrier.estimate() == Load(2, 2)
    carrier.prepare()
    assert carrier.copy(Way.THERE, told) == Load(2, 2)
    assert carrier.copy(Way.THERE, told) == Load(0, 0)
    carrier.compare()
    buckets.put(0, "acme/a", b"A")
    buckets.client.delete_object(Bucket=buckets.names[0], Key="blobs/acme/deep/b")
    buckets.put(0, "acme/new", b"n", ContentType="text/plain", Metadata={"by": "ada"})
    carrier.finish(Way.THERE, 30)
    marked = buckets.objects(1)
    assert marked.pop(".cellplane-moves/acme") == b"m1"
    assert marked == {"acme/a": b"A", "acme/new": b"n"}
    found = buckets.client.head_object(Bucket=buckets.names[1], Key="blobs/acme/new")
    assert (found["ContentType"], found["Metadata"]["by"]) == ("text/plain", "ada")
    carrier.clean(Way.THERE, 7)
    carrier.clean(Way.THERE, 7)
    assert buckets.objects(0) == {"acme-2/c": b"another's"}
    assert buckets.objects(1) == {"acme/a": b"A", "acme/new": b"n"}


def test_what_was_written_at_the_target_comes_back(buckets: Buckets) -> None:
    buckets.put(0, "acme/a", b"a")
    carrier = buckets.carrier()
    carrier.prepare()
    carrier.finish(Way.THERE, 30)
    buckets.put(1, "acme/a", b"newer")
    buckets.put(1, "acme/b", b"b")
    carrier.copy(Way.BACK, told)
    carrier.finish(Way.BACK, 30)
    carrier.clean(Way.BACK, 9)
    assert buckets.objects(0) == {"acme/a": b"newer", "acme/b": b"b"}
    assert buckets.objects(1) == {}


def test_a_large_object_goes_in_parts_and_is_known_again_whatever_its_parts_were(buckets: Buckets) -> None:
    data = random.Random(5).randbytes(2 * PART_BYTES + 1000)
    key = {"Bucket": buckets.names[0], "Key": "blobs/acme/large"}
    upload = {**key, "UploadId": buckets.client.create_multipart_upload(**key)["UploadId"]}
    parts = []
    for number, piece in enumerate((data[: PART_BYTES + 500], data[PART_BYTES + 500 :]), 1):
        tag = buckets.client.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    buckets.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    carrier = buckets.carrier()
    carrier.prepare()
    assert carrier.copy(Way.THERE, told) == Load(1, len(data))
    assert buckets.objects(1)["acme/large"] == data
    assert carrier.copy(Way.THERE, told) == Load(0, 0), "though its entity tag is another"
    carrier.compare()
    carrier.finish(Way.THERE, 30)


def test_pages_of_a_listing_and_of_deletes_are_all_seen(buckets: Buckets) -> None:
    for number in range(25):
        buckets.put(0, f"acme/{number:04}", b"x")
    carrier = buckets.carrier(page=10)
    assert carrier.estimate() == Load(25, 25)
    carrier.prepare()
    carrier.clean(Way.THERE, 1)
    assert buckets.objects(0) == {}


def test_an_object_that_is_replaced_as_it_is_copied_is_copied_by_the_next_round(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets.put(0, "acme/a", b"one")
    carrier = buckets.carrier()
    carrier.prepare()
    head = BucketPrefix.head

    def replaced(self: BucketPrefix, blob: Any) -> Any:
        found = head(self, blob)
        buckets.put(0, "acme/a", b"two")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(BucketPrefix, "head", replaced)
        assert carrier.copy(Way.THERE, told) == Load(0, 0)
        buckets.put(0, "acme/a", b"three")
        with pytest.raises(NotInTimeError, match="is written while writes are held, such as a"):
            carrier.finish(Way.THERE, 30)
    carrier.finish(Way.THERE, 30)
    assert buckets.objects(1)["acme/a"] == b"two"


def test_a_target_that_has_objects_of_the_tenant_or_of_another_move_is_left_alone(buckets: Buckets) -> None:
    buckets.put(1, "acme/old", b"whose?")
    with pytest.raises(NotEmptyError, match="has old already"):
        buckets.carrier().prepare()
    buckets.carrier().clean(Way.BACK, 1)
    assert buckets.objects(1) == {"acme/old": b"whose?"}
    buckets.client.delete_object(Bucket=buckets.names[1], Key="blobs/acme/old")
    buckets.carrier().prepare()
    with pytest.raises(MoveError, match="marked by the move m1"):
        buckets.carrier(move="m2").prepare()


def test_a_bucket_that_is_not_there_and_a_tenant_with_a_slash_are_said(buckets: Buckets) -> None:
    limits = CarrierSettings()
    place = Place("nowhere", "", buckets.endpoint, "us-east-1")
    away = BucketPrefix(place, "acme", limits)
    with pytest.raises(StoreError, match="see that the bucket is there"):
        PrefixCarrier("objects", "m1", away, away, limits).estimate()
    with pytest.raises(NotMovableError, match="slash"):
        BucketPrefix(place, "a/b", limits)


def test_places_are_urls_and_a_wrong_one_is_not_repeated() -> None:
    assert place_of("s3://bucket/a/b?endpoint=http://127.0.0.1:9&region=eu&profile=cell-1") == Place(
        "bucket", "a/b/", "http://127.0.0.1:9", "eu", "cell-1"
    )
    for wrong in ("https://bucket/a", "s3://", "s3://key:secret@bucket/a", "s3://bucket/a?secret=1"):
        with pytest.raises(MoveError) as raised:
            place_of(wrong)
        assert "secret" not in str(raised.value)


KILLED = """
import sys
from cellplane.moves.carriers.carrier import Way
from cellplane.moves.carriers.prefix import PrefixCarrier
from cellplane.moves.carriers.s3 import BucketPrefix, Place
from cellplane.moves.settings import CarrierSettings
settings = CarrierSettings(threads=2)
places = [Place(name, "blobs/", sys.argv[1], "us-east-1") for name in sys.argv[2:4]]
carrier = PrefixCarrier("objects", "m1", *(BucketPrefix(place, "acme", settings) for place in places), settings)
carrier.copy(Way.THERE, lambda _: None)
"""


@pytest.mark.long
@pytest.mark.parametrize("seed", range(examples(2)))
def test_killed_at_any_point_it_goes_on_and_the_copy_is_whole(buckets: Buckets, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(20):
        buckets.put(0, f"acme/{number}", rng.randbytes(rng.randrange(1, 10_000)))
    buckets.carrier().prepare()
    for _ in range(2):
        fault = f"move.blob.copied:{rng.randint(1, 8)}"
        command = [sys.executable, "-c", KILLED, buckets.endpoint, *buckets.names]
        ended = subprocess.run(command, env={"CELLPLANE_FAULT": fault, **CREDENTIALS}, timeout=60, check=False)
        print(f"seed {seed}: {fault}: {ended.returncode}")
        assert ended.returncode == -9
    buckets.carrier().finish(Way.THERE, 30)
    expected = buckets.objects(0)
    assert buckets.objects(1) == expected
