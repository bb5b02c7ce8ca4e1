"""`cellplane cell init`: the files of a new service that is a good cell from its first start on."""

from dataclasses import asdict
from pathlib import Path

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json
from cellplane.scaffold import Project, write


@click.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Where its files go; by default a new folder of its name.",
)
@click.option("--package", default=None, help="As what Python imports it; by default its name, with underscores.")
@click.option("--force", is_flag=True, help="Into a folder that is not empty: files of these names are replaced.")
@json_option
def init(name: str, folder: Path | None, package: str | None, *, force: bool, as_json: bool) -> None:
    """Make the files of a service NAME that runs in a cell: FastAPI, PostgreSQL, tests, a manifest, a Dockerfile.

    It has what the SDK is for, each once: door, wiring check, sessions, health, metrics, settings, idempotency keys,
    events. Put your own tables in the place of its items.
    """
    project = Project.named(name, package)
    target = Path(name) if folder is None else folder
    written = write(target, project.files(), force=force)
    if as_json:
        print_json({"name": project.name, "package": project.package, "folder": str(target), **asdict(written)})
        return
    for word, paths in (("created", written.created), ("replaced", written.replaced), ("unchanged", written.unchanged)):
        for path in paths:
            click.echo(f"{word:<9} {target / path}")
    click.echo(f"\nNext: cd {target}, and what README.md says.")
