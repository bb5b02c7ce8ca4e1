"""The fleet that runs as a file, and back."""

import subprocess
import sys
from pathlib import Path

import yaml

from unit.control.serving import Api

CELLPLANE = Path(sys.executable).with_name("cellplane")


def export(api: Api, *options: str) -> str:
    command: list[str | Path] = [CELLPLANE, "export", "--control", f"http://127.0.0.1:{api.port}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return str(done.stdout)


def test_what_is_exported_is_sound_and_applying_it_changes_nothing(shop: Api, tmp_path: Path) -> None:
    shop.put("/v1/tenants/acme", {"cells": ["cell-2", "cell-1"], "tier": "gold", "attributes": {"plan": "b"}})
    shop.put("/v1/tenants/other", {})
    text = export(shop, "--tenants")
    kinds = [document["kind"] for document in yaml.safe_load_all(text)]
    assert kinds == ["Fleet", "Cell", "Cell", "Pool", "Tenant", "Tenant"]
    file = tmp_path / "fleet.yaml"
    file.write_text(text)
    epoch = shop.get("/healthz").json()["epoch"]
    command: list[str | Path] = [
        CELLPLANE,
        "apply",
        "-f",
        file,
        "--prune",
        "--control",
        f"http://127.0.0.1:{shop.port}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "othing to change" in done.stdout
    assert shop.get("/healthz").json()["epoch"] == epoch


def test_tenants_are_exported_when_asked_for_page_by_page(shop: Api) -> None:
    for number in range(5):
        shop.put(f"/v1/tenants/tenant-{number}", {})
    assert "Tenant" not in export(shop)
    page = shop.get("/v1/resources", tenants="true", limit=2).json()
    assert [item["kind"] for item in page["items"]] == ["Fleet", "Cell", "Cell", "Pool", "Tenant", "Tenant"]
    following = shop.get("/v1/resources", tenants="true", limit=10, after=page["next"]).json()
    assert [item["name"] for item in following["items"]] == ["tenant-2", "tenant-3", "tenant-4"]
    assert following["next"] is None


def test_an_empty_directory_exports_nothing(api: Api) -> None:
    assert api.get("/v1/resources").json() == {"items": [], "next": None}
    assert list(yaml.safe_load_all(export(api))) in ([], [None])
