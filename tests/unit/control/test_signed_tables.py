"""What goes with a published table: its manifest, its compressed form, its way to the targets, the check before it."""

import time
from pathlib import Path

import pytest
import zstandard

from cellplane.control.app import create_app
from cellplane.control.distribution import Distribution
from cellplane.control.encoded import accepts_zstd
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError, TableCheckError
from cellplane.publishing.keys import KeyUse, create_key
from cellplane.publishing.manifest import Manifest, from_header
from cellplane.publishing.trust import Trust
from cellplane.routing import RoutingTable
from unit.control.serving import Api, eventually, serving


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("zstd", True),
        ("gzip, ZSTD;q=0.5", True),
        ("*", True),
        ("gzip, *;q=0.1", True),
        ("zstd;q=0, *", False),
        ("zstd; q=0.000", False),
        ("gzip", False),
        ("", False),
        (None, False),
        ("zstd;q=x", False),
        ("zstdx", False),
    ],
)
def test_zstd_is_sent_where_it_is_accepted(header: str | None, accepted: bool) -> None:
    assert accepts_zstd(header) is accepted


def test_a_compressed_table_is_the_same_table(shop: Api) -> None:
    shop.published(shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"}))
    plain = shop.http.get("/v1/table", headers={"accept-encoding": "identity"})
    with shop.http.stream("GET", "/v1/table", headers={"accept-encoding": "zstd"}) as response:
        packed = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "zstd"
    assert response.headers["etag"] == f"W/{plain.headers['etag']}"
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == response.headers["vary"] == "Accept-Encoding"
    assert len(packed) < len(plain.content) / 10
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        assert reader.read() == plain.content
    again = shop.http.get("/v1/table", headers={"accept-encoding": "zstd", "if-none-match": response.headers["etag"]})
    assert again.status_code == 304


def test_a_base_is_compressed_once_for_all(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[int] = []

    def compress(part: bytes) -> bytes:
        compressed.append(len(part))
        return zstandard.compress(part)

    monkeypatch.setattr("cellplane.control.encoded._compress", compress)
    for tenant in ("a", "b", "c"):
        shop.published(shop.put_epoch(f"/v1/tenants/{tenant}", {"cell": "cell-2"}))
        for _ in range(3):
            with shop.http.stream("GET", "/v1/table", headers={"accept-encoding": "zstd"}) as response:
                response.read()
    assert sum(size > 100_000 for size in compressed) == 1
    assert sum(size < 100_000 for size in compressed) <= 4, "an overlay a change, and what was published between"


def test_a_table_comes_with_its_manifest_and_goes_to_the_targets(tmp_path: Path) -> None:
    key, other = (create_key(tmp_path / name, KeyUse(name)) for name in ("eu", "us"))
    target = tmp_path / "tables"
    keys = (tmp_path / "eu", tmp_path / "us")
    with serving(tmp_path / "state", signing_keys=keys, publish_to=(str(target),)) as api:
        epoch = api.fill()
        answer = api.get("/v1/table")
        manifest = Manifest.parse(from_header(answer.headers["x-cellplane-manifest"]))
        for each in (key, other):
            assert Trust([each.public]).verify(manifest, now=int(time.time())) == each.id
        manifest.statement.check_describes(RoutingTable.of_publication(answer.content))
        eventually(
            lambda: f'cellplane_target_epoch{{target="{target}"}} {float(epoch)}' in api.get("/metrics").text, "there"
        )
        assert (target / "manifest").read_bytes() == manifest.encode(), "signed once, for all"


def test_a_target_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    good = tmp_path / "good"
    with serving(tmp_path / "state", publish_to=(str(tmp_path / "file"), str(good))) as api:
        epoch = api.fill()
        assert "x-cellplane-manifest" not in api.get("/v1/table").headers, "nobody signs"
        eventually(lambda: (good / "manifest").exists() and b"epoch 4\n" in (good / "manifest").read_bytes(), "good")
        assert epoch == 4
        eventually(lambda: 'reason="unwritable"' in api.get("/metrics").text, "the other is told of")


def test_a_table_that_routers_would_refuse_is_never_published(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def refuse(self: Distribution, table: RoutingTable) -> None:
        refused.append(table.epoch)
        raise TableCheckError(f"routers would refuse the table of epoch {table.epoch}: a test says so")

    with monkeypatch.context() as patch:
        patch.setattr(Distribution, "require_sound", refuse)
        epoch = shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
        eventually(lambda: bool(refused), "it is asked")
        assert shop.get("/healthz").json() == {
            "status": "ok",
            "epoch": epoch,
            "published_epoch": epoch - 1,
            "problem": None,
        }
        eventually(
            lambda: "cellplane_publish_failures_total 0.0" not in shop.get("/metrics").text, "the failure is counted"
        )
    assert shop.published(epoch).find(b"acme") is not None, "published, once it is not refused"


def test_keys_and_targets_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    create_key(tmp_path / "key", KeyUse())
    (tmp_path / "key").chmod(0o644)
    (tmp_path / "key.pub").chmod(0o600)
    for settings, reason in (
        ({"signing_keys": (tmp_path / "key",)}, "chmod 600"),
        ({"signing_keys": (tmp_path / "key.pub",)}, "expected one private key"),
        ({"publish_to": ("ftp://host/",)}, "expected a folder or s3://"),
    ):
        with pytest.raises(CellplaneError, match=reason):
            create_app(ControlSettings(state_dir=tmp_path / "state", port=1, **settings))


def test_an_expired_key_is_told_of_and_signs_nothing(tmp_path: Path) -> None:
    create_key(tmp_path / "old", KeyUse("", int(time.time()) - 10))
    with serving(tmp_path / "state", signing_keys=(tmp_path / "old",)) as api:
        api.fill()
        assert "x-cellplane-manifest" not in api.get("/v1/table").headers
        assert "cellplane_signing_key_not_after_seconds{" in api.get("/metrics").text
