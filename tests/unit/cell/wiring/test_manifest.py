"""A manifest says what is a cell's, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell import CellSettings
from cellplane.cell.errors import InvalidManifestError
from cellplane.cell.wiring import Broker, CellManifest, Database, WiringLimits

TOML = """
cell = "cell-1"

[[databases]]
name = "orders"
hosts = ["db-1", "pooler:6432", "[fd00::1]:5433"]
sockets = ["/run/postgresql", "/run/pg:6432"]

[[databases]]
kind = "sqlite"
name = "/var/lib/cell/local.sqlite3"

[[brokers]]
kind = "nats"
hosts = ["nats-1", "nats-2:4223"]

[[brokers]]
kind = "kafka"
hosts = ["kafka-1"]
"""


def test_a_manifest_says_every_way_to_what_is_the_cells(tmp_path: Path) -> None:
    path = tmp_path / "cell.toml"
    path.write_text(TOML)
    manifest = CellManifest.load(path)
    assert manifest.cell_id == "cell-1"
    assert [str(endpoint) for endpoint in manifest.endpoints()] == [
        "postgresql://…@db-1:5432/orders",
        "postgresql://…@pooler:6432/orders",
        "postgresql://…@[fd00::1]:5433/orders",
        "postgresql://…@%2Frun%2Fpostgresql:5432/orders",
        "postgresql://…@%2Frun%2Fpg:6432/orders",
        "sqlite file /var/lib/cell/local.sqlite3",
        "nats://nats-1:4222",
        "nats://nats-2:4223",
        "kafka://kafka-1:9092",
    ]


def test_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    path.write_text(json.dumps({"cell": "cell-1", "brokers": [{"hosts": ["nats-1"]}]}))
    assert CellManifest.load(path) == CellManifest("cell-1", (), (Broker(hosts=("nats-1",)),))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected a table"),
        ({}, "expected the cell's id"),
        ({"cell": ""}, "visible ASCII"),
        ({"cell": 1}, "expected the cell's id"),
        ({"cell": "a", "database": []}, "found 'database'"),
        ({"cell": "a", "databases": {}}, "expected a list"),
        ({"cell": "a", "databases": ["x"]}, r"databases\[0\]: expected a table"),
        ({"cell": "a", "databases": [{"hosts": ["x"]}]}, r"databases\[0\]: a member is missing"),
        ({"cell": "a", "databases": [{"name": "o"}]}, "expected hosts or sockets"),
        ({"cell": "a", "databases": [{"name": "", "hosts": ["x"]}]}, "expected a name"),
        ({"cell": "a", "databases": [{"name": "o", "hosts": "x"}]}, "a list of texts"),
        ({"cell": "a", "databases": [{"name": "o", "hosts": [1]}]}, "a list of texts"),
        ({"cell": "a", "databases": [{"name": "o", "hosts": ["u:hunter2@x"]}]}, "host or host:port"),
        ({"cell": "a", "databases": [{"name": "o", "hosts": ["x:0"]}]}, "1–65535"),
        ({"cell": "a", "databases": [{"name": "o", "sockets": ["x"]}]}, "socket's folder"),
        ({"cell": "a", "databases": [{"name": "o", "sockets": ["/x:99999"]}]}, "1–65535"),
        ({"cell": "a", "databases": [{"name": "o", "kind": "mysql", "hosts": ["x"]}]}, "postgresql or sqlite"),
        ({"cell": "a", "databases": [{"name": "o", "kind": "sqlite", "hosts": ["x"]}]}, "a file alone"),
        ({"cell": "a", "brokers": [{"kind": "amqp", "hosts": ["x"]}]}, "nats or kafka"),
        ({"cell": "a", "brokers": [{"hosts": []}]}, "expected hosts"),
    ],
)
def test_what_is_no_manifest_is_refused(document: Any, message: str) -> None:
    with pytest.raises(InvalidManifestError, match=message) as raised:
        CellManifest.of_document(document)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "cell = ", '{"cell": "a"}', "cell = 'a'\n" + "#" * 70_000])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cell.toml"
    path.write_text(text)
    with pytest.raises(InvalidManifestError, match=r"cell\.toml"):
        CellManifest.load(path)
    with pytest.raises(InvalidManifestError, match=r"missing\.toml"):
        CellManifest.load(tmp_path / "missing.toml", WiringLimits())
    (tmp_path / "deep.json").write_text("[" * 60_000)
    with pytest.raises(InvalidManifestError, match=r"deep\.json"):
        CellManifest.load(tmp_path / "deep.json")


def test_settings_name_one_database_and_one_broker() -> None:
    settings = CellSettings("cell-1", "postgresql://u:p@[::1]:5433/orders?host=/run/pg", "nats://n:s@nats-1")
    manifest = CellManifest.of_settings(settings)
    assert manifest.databases == (Database(name="orders", sockets=("/run/pg:5433",)),)
    assert manifest.brokers == (Broker(hosts=("nats-1:4222",)),)
    with pytest.raises(InvalidManifestError, match="database_url names a service"):
        CellManifest.of_settings(CellSettings("cell-1", "service=x", "nats://nats-1"))


def test_settings_without_a_broker_name_none() -> None:
    manifest = CellManifest.of_settings(CellSettings("cell-1", "postgresql://db-1/orders"))
    assert manifest.brokers == ()


def test_the_manifest_of_another_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cell.toml"
    path.write_text(TOML)
    assert CellManifest.load(path, cell_id="cell-1") == CellManifest.load(path)
    with pytest.raises(InvalidManifestError, match=r"expected the manifest of cell-2.*found that of cell-1"):
        CellManifest.load(path, cell_id="cell-2")
