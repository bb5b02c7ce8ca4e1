"""A wheel in an empty environment, without a compiler, runs the demo."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.harness import admin_headers, eventually, start_demo
from support import plain_http

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
INSTALL_SECONDS = 300


@pytest.mark.alone
def test_a_wheel_runs_the_demo_where_nothing_can_be_compiled(tmp_path: Path) -> None:
    run(
        UV,
        "build",
        "--quiet",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        tmp_path,
        ROOT,
    )
    (wheel,) = tmp_path.glob("cellplane-*.whl")
    assert "none-any" not in wheel.name, "the compiled module is of one platform"
    bin_folder = tmp_path / "venv" / "bin"
    run(UV, "venv", "--quiet", "--python", sys.executable, bin_folder.parent)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", bin_folder / "python"]
    # As a user does: the extra, held to the versions that were tested. A wheel of a local path has no hash to check,
    # and installers check all or none.
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(without_hashes((ROOT / "requirements" / "demo.txt").read_text()))
    run(*install, f"cellplane[demo] @ {wheel.as_uri()}", "-c", constraints)
    # Nothing but the environment itself on PATH: no cc, no cargo, and nothing of this checkout.
    environment = {"PATH": str(bin_folder), "HOME": str(tmp_path)}
    with start_demo(tmp_path / "state", command=bin_folder / "cellplane", environment=environment) as demo:
        admin = admin_headers(tmp_path / "state" / "control")
        metrics = plain_http.get(f"{demo.control}/metrics", headers=admin).text
        assert "cellplane_table_check_installed 1.0" in metrics, "the wheel has the program, and it may be run"
        body = {"channel": "push", "to": "device", "body": "Hello"}
        headers = {"X-Tenant-Id": "tenant-001"}
        created = plain_http.post(f"{demo.router}/notifications", json=body, headers=headers).json()
        path = f"/notifications/{created['id']}"
        eventually(lambda: demo.ask("tenant-001", path).json()["status"] == "delivered", "delivered")
    run(bin_folder / "cellplane", "cell", "init", "orders", "--folder", tmp_path / "orders")
    assert (tmp_path / "orders" / "orders" / "app.py").exists(), "the wheel has the templates"


def test_a_second_setup_does_nothing() -> None:
    done = subprocess.run(["make", "-q", "setup"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"make setup would run again: {done.stdout}{done.stderr}"
    run("make", "-C", ROOT, "setup")


def without_hashes(requirements: str) -> str:
    """The same requirements with versions alone."""
    return "\n".join(re.findall(r"^[a-z][^\\\n]*", requirements, re.MULTILINE))


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
