"""What is rendered for each example fleet is what Envoy itself calls valid: ``envoy --mode validate``."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cellplane.manifest.files import read
from cellplane.model import (
    Cell,
    Compare,
    Fleet,
    JwtProvider,
    KeySource,
    KeySourceKind,
    Policy,
    Pool,
    Priority,
    Topology,
)
from cellplane.router.board import Board
from cellplane.router.envoy import resources
from cellplane.router.envoy.bootstrap import bootstrap
from cellplane.router.envoy.identity import Identity
from cellplane.router.envoy.names import TOKENS
from cellplane.router.envoy.process import envoy_binary, module_folder
from cellplane.router.local_files import LocalFiles
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from cellplane.signed_cookie import new_secret
from e2e.test_tls_and_logs import write_pair
from e2e.tokens import jwk_set, new_key

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def everything() -> Topology:
    """A fleet that uses all that a router can do."""
    sources = (KeySource(KeySourceKind.JWT_CLAIM, "org.id"), KeySource(KeySourceKind.COOKIE, "route"))
    issuers = (
        JwtProvider("file", "https://id.example", ("shop",), jwks_file="/etc/cellplane/jwks.json", cookie="session"),
        JwtProvider("url", "https://other.example", jwks_url="https://other.example/jwks.json"),
    )
    policy = Policy(shadow="cell-2", compare=Compare(10, ("/at",)), rps=100, priority=Priority.HIGH)
    cells = (Cell("cell-1", "127.0.0.1", 8001), Cell("cell-2", "cell-2.internal", 8002))
    return Topology(
        Fleet("shop", key_sources=sources, jwt=issuers, policy=policy), cells, (Pool("default", ("cell-1",)),)
    )


def example(path: Path) -> Topology:
    """The fleet of a file."""
    return read([(path.name, path.read_text())]).topology()


@pytest.mark.parametrize(
    "topology",
    [*(pytest.param(example(path), id=path.stem) for path in EXAMPLES), pytest.param(everything(), id="everything")],
)
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls and log"])
def test_envoy_accepts_what_is_rendered(topology: Topology, is_secure: bool, tmp_path: Path) -> None:
    table_path = tmp_path / "table-1.cpt"
    table_path.write_bytes(encode(compile_table(topology, 1)))
    stored = StoredTable(RoutingTable(table_path.read_bytes()), table_path)
    write_pair(tmp_path, "shop.example")
    more: dict[str, Any] = {
        "tls_certificate": tmp_path / "tls.crt",
        "tls_key": tmp_path / "tls.key",
        "access_log": tmp_path / "access.log",
        "access_log_share": 0.5,
    }
    settings = RouterSettings(
        router_id="r", control_url="http://127.0.0.1:1", state_dir=tmp_path, port=1, **(more if is_secure else {})
    )
    config = tmp_path / "all.json"
    config.write_text(json.dumps(as_one_file(stored, settings, tmp_path)))
    checked = subprocess.run(
        [envoy_binary(), "--mode", "validate", "--config-path", config],
        env={"PATH": os.environ["PATH"], "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(module_folder())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr[-2000:]
    assert "OK" in checked.stdout
    assert "deprecated" not in checked.stderr.lower()


def as_one_file(stored: StoredTable, settings: RouterSettings, folder: Path) -> Mapping[str, Any]:
    """All that Envoy is given, in place of where it would look for it: files are not looked at while it validates."""
    cookie_keys = folder / "cookie-keys-of-a"
    cookie_keys.write_text(f"a {new_secret()}\n")
    jwks = {"file": jwk_set([new_key("EC", "a")])} if stored.table.edge.jwt else {}
    files = LocalFiles(jwks, cookie_keys)
    board = Board.of_table(folder / "boards", stored.table, settings.workers)
    listener, copies = resources.listeners(settings)["resources"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (routes,) = resources.routes(stored, settings, files=files, board=board.path)["resources"]
    del manager["rds"]
    manager["route_config"] = {name: value for name, value in routes.items() if name != "@type"}
    (tokens,) = resources.tokens(Identity.of(stored.table, files), settings)["resources"]
    manager["http_filters"][0] = {"name": TOKENS, "typed_config": tokens["typed_config"]}
    for secret in resources.secrets(settings)["resources"]:
        context = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
        del context["tls_certificate_sds_secret_configs"]
        context["tls_certificates"] = [
            {name: value for name, value in secret["tls_certificate"].items() if name != "watched_directory"}
        ]
    whole = bootstrap(settings, folder)
    del whole["dynamic_resources"]
    whole["static_resources"]["clusters"] += _plain(resources.clusters(stored.table, settings)["resources"])
    return {**whole, "static_resources": {**whole["static_resources"], "listeners": _plain([listener, copies])}}


def _plain(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "@type"} for one in found]
