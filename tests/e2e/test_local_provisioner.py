"""The provisioner of a local fleet keeps the contract: with real cells, of a demo that runs."""

import time
from collections.abc import Iterator

import httpx2
import pytest

from cellplane.cell.door import RequestLine, Routing
from cellplane.cell.proof import parse_keys, sign
from cellplane.model import CellStatus
from cellplane.provision import CellInstance, Provisioner
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.provisioner import LocalProvisioner
from conformance.provisioner import LIMITS, ProvisionerContract, Trial
from e2e.harness import Demo, start_demo
from support import plain_http


class LocalTrial:
    def __init__(self, demo: Demo) -> None:
        self.statuses: dict[str, CellStatus] = {}
        folder = StateFolder(demo.state)
        self._keys = parse_keys(folder.proof_keys.read_text())
        self.provisioner: Provisioner = LocalProvisioner(folder, self.statuses.get)

    def keep(self, instance: CellInstance, text: str) -> None:
        self._ask(instance, "POST", json={"channel": "push", "to": "somebody", "body": text})

    def kept(self, instance: CellInstance) -> list[str]:
        return [item["body"] for item in self._ask(instance, "GET").json()["items"]]

    def told_release(self, instance: CellInstance) -> str:
        release: str = self._ask(instance, "GET").headers["x-cell-release"]
        return release

    def _ask(self, instance: CellInstance, method: str, **options: object) -> httpx2.Response:
        # As a router would: these cells are in no table.
        line = RequestLine(method.encode(), b"/notifications", b"")
        proof = sign(self._keys, Routing(instance.id.encode(), b"1", b"acme", b""), line, int(time.time()))
        headers = {"x-cell-id": instance.id, "x-cell-epoch": "1", "x-tenant-id": "acme", "x-cell-proof": proof.decode()}
        url = f"http://{instance.address}:{instance.port}/notifications"
        answer = plain_http.request(method, url, headers=headers, timeout=30, **options)
        assert answer.status_code in {200, 202}, answer.text
        return answer


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    limits = ("--max-cells", str(LIMITS.max_cells), "--max-capacity", f"rps={LIMITS.max_total.rps}")
    with start_demo(tmp_path_factory.mktemp("provisioner") / "state", "--cells", "1", *limits) as demo:
        yield LocalTrial(demo)


@pytest.mark.long
class TestLocalProvisioner(ProvisionerContract):
    pass
