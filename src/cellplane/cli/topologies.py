"""The fleet that a command is about: from files, or from the control plane, with its tenants."""

from collections.abc import Mapping, Sequence

from cellplane.cli.export import read_resources
from cellplane.cli.manifests import count, print_problems, read_manifest
from cellplane.cli.options import connect
from cellplane.errors import CellplaneError
from cellplane.manifest.files import check_whole
from cellplane.manifest.resources import model_of
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology


def read_fleet(files: Sequence[str], control_url: str) -> tuple[Topology, Mapping[str, str]]:
    """A valid fleet with its tenants, and the quarantine cell of each tenant that is in quarantine.

    Raises:
        CellplaneError: the files are not valid, or the control plane cannot be reached, refuses or has no fleet.
    """
    if files:
        manifest = read_manifest(files)
        problems = manifest.problems or check_whole(manifest)
        if problems:
            print_problems(problems)
            raise CellplaneError(f"{count(len(problems), 'problem')} in {', '.join(files)}: mend them first")
        return manifest.topology(), {}
    with connect(control_url) as client:
        resources = read_resources(client, with_tenants=True)
        quarantined = {each["tenant"]: each["cell"] for each in client.get("/v1/quarantine")["items"]}
    values = [model_of(each["kind"], each["name"], each["spec"]) for each in resources]
    fleets = [value for value in values if isinstance(value, Fleet)]
    if not fleets:
        raise CellplaneError(f"the control plane at {control_url} has no fleet yet: apply one first")
    topology = Topology(
        fleets[0],
        tuple(value for value in values if isinstance(value, Cell)),
        tuple(value for value in values if isinstance(value, Pool)),
        tuple(value for value in values if isinstance(value, Tenant)),
    )
    return topology, quarantined
