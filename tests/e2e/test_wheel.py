"""A wheel in an empty environment, without a compiler, runs the demo."""

import subprocess
import sys
from pathlib import Path

import httpx2

from e2e.harness import eventually, start_demo

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
INSTALL_SECONDS = 300


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
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / "demo.txt")
    run(*install, "--no-deps", wheel)
    # Nothing but the environment itself on PATH: no cc, no cargo, and nothing of this checkout.
    environment = {"PATH": str(bin_folder), "HOME": str(tmp_path)}
    with start_demo(tmp_path / "state", command=bin_folder / "cellplane", environment=environment) as demo:
        body = {"channel": "push", "to": "device", "body": "Hello"}
        headers = {"X-Tenant-Id": "tenant-001"}
        created = httpx2.post(f"{demo.router}/notifications", json=body, headers=headers, trust_env=False).json()
        path = f"/notifications/{created['id']}"
        eventually(lambda: demo.ask("tenant-001", path).json()["status"] == "delivered", "delivered")


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
