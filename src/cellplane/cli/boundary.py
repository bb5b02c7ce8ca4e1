"""`cellplane cell check`: whether a running app keeps the boundary of its cell."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from cellplane.cell.boundary import check_boundary
from cellplane.cell.proof import parse_keys
from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[str, int]:
        """Host and port."""
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).removeprefix("http://").rstrip("/").rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
            self.fail(f"expected HOST:PORT, such as 127.0.0.1:8080, found {value!r}", param, context)
        return host.strip("[]"), int(port)


@click.command()
@click.argument("address", type=Address())
@click.option("--cell", "cell_id", required=True, help="As which it runs: its CELLPLANE_CELL_ID.")
@click.option("--tenant", "tenant_id", default="cellplane-check", show_default=True, help="Who asks, where one must.")
@click.option("--path", default="/", show_default=True, help="Path that is asked; one that only reads.")
@click.option("--health", default="/healthz", show_default=True, help="Path that needs no router.")
@click.option(
    "--proof-keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of the routers' keys, for an app that asks for proof that a router sent a request.",
)
@json_option
def check(
    address: tuple[str, int],
    cell_id: str,
    tenant_id: str,
    *,
    path: str,
    health: str,
    proof_keys: Path | None,
    as_json: bool,
) -> None:
    """Ask the app at ADDRESS what it must refuse, and what it must let in; ends with 1 where it does not.

    ADDRESS is the app's own, past any router.
    """
    keys = None if proof_keys is None else parse_keys(proof_keys.read_text(errors="replace"))
    found = check_boundary(*address, cell_id, tenant_id=tenant_id, path=path, health=health, proof_keys=keys)
    failed = sum(not each.passed for each in found)
    if as_json:
        print_json({"failed": failed, "checks": [asdict(each) for each in found]})
    else:
        rows = [("ok" if each.passed else "FAILED", each.name, each.expected, each.found) for each in found]
        print_table(("", "ASKED", "EXPECTED", "FOUND"), rows, empty="")
        click.echo(f"\n{failed} of {len(found)} failed." if failed else f"\nAll {len(found)} passed.")
    sys.exit(1 if failed else 0)
