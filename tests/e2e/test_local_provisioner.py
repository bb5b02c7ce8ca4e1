"""The provisioner of a local fleet keeps the contract: with real cells, of a demo that runs."""

from collections.abc import Iterator

import httpx2
import pytest

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
        self.provisioner: Provisioner = LocalProvisioner(StateFolder(demo.state), self.statuses.get)

    def keep(self, instance: CellInstance, text: str) -> None:
        self._ask(instance, "POST", json={"channel": "push", "to": "somebody", "body": text})

    def kept(self, instance: CellInstance) -> list[str]:
        return [item["body"] for item in self._ask(instance, "GET").json()["items"]]

    def told_release(self, instance: CellInstance) -> str:
        release: str = self._ask(instance, "GET").headers["x-cell-release"]
        return release

    def _ask(self, instance: CellInstance, method: str, **options: object) -> httpx2.Response:
        # As a router would: these cells are in no table.
        headers = {"x-cell-id": instance.id, "x-cell-epoch": "1", "x-tenant-id": "acme"}
        url = f"http://{instance.address}:{instance.port}/notifications"
        answer = plain_http.request(method, url, headers=headers, timeout=10, **options)
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
