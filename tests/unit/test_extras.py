"""Each extra declares what its packages import: an installation with it alone starts."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import accumulate
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"cellplane": ROOT / "src", "notifications": ROOT / "examples"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Of the SDK, what needs more than the standard library is in packages of its own.
CORE = sorted(f"cellplane.cell.{path.stem}" for path in (ROOT / "src/cellplane/cell").glob("[!_]*.py"))
# The servers of the demo are programs, not imports.
PACKAGES = {
    "data": ["cellplane.cell.data"],
    "routing": ["cellplane.model", "cellplane.placement", "cellplane.routing"],
    "control": ["cellplane.control"],
    "router": ["cellplane.router"],
    "cli": ["cellplane.cli"],
    "moves": ["cellplane.cli.mover", "cellplane.moves"],
    "plan": ["cellplane.cli.plan"],
    "s3": ["cellplane.moves.carriers.s3", "cellplane.publishing.targets.s3"],
    "nats": ["cellplane.cell.messaging.jetstream"],
    "kafka": ["cellplane.cell.messaging.kafka"],
    "events": [*(f"cellplane.events.{name}" for name in ("outbox", "relay", "stream", "waiting"))],
    "analytics": ["cellplane.events"],
    "demo": ["cellplane.cli", "cellplane.control", "cellplane.router", "notifications"],
    "telemetry": ["cellplane.cell.telemetry", "cellplane.events.metrics"],
    None: [
        *CORE,
        "cellplane.cell.config",
        "cellplane.cell.wiring",
        "cellplane.cell.messaging.handling",
        "cellplane.cell.messaging.message",
        "cellplane.signed_cookie",
    ],
}


ASKED_FOR = {
    "matplotlib": {"plan"},
    "boto3": {"s3"},
    "botocore": {"s3"},
    "duckdb": {"analytics"},
    "nats": {"analytics", "events", "nats"},
    "prometheus_client": {"control", "router", "telemetry"},
    **{name: {"control"} for name in ("alembic", "pydantic_core", "zstandard")},
    "dbos": {"moves"},
    "psycopg": {"control", "data", "events", "moves"},
    "sqlalchemy": {"control", "data", "events"},
    "structlog": {"control", "moves", "router"},
}
"""What a command imports when it is asked for, and says how to install: no extra but these needs it."""


def canonical(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str | None) -> set[str]:
    """The distributions that an extra names, also by way of other extras."""
    found: set[str] = set()
    for requirement in EXTRAS[extra] if extra else []:
        match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement)
        assert match is not None, requirement
        if match[1] == "cellplane":
            for other in match[2].split(","):
                found |= declared(other)
        else:
            found.add(canonical(match[1]))
    return found


def file_of(module: str) -> Path | None:
    """Where a module of ours is, if it is one."""
    path = OURS[module.partition(".")[0]].joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file names in its imports, wherever they stand; of ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path}: relative imports are not used here"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def modules(package: str) -> Iterator[str]:
    """A package and all that is in it, or a module."""
    init = file_of(package)
    assert init is not None, package
    if init.name != "__init__.py":
        yield package
        return
    for path in init.parent.rglob("*.py"):
        yield ".".join([package, *path.relative_to(init.parent).with_suffix("").parts]).removesuffix(".__init__")


def imported(packages: list[str]) -> dict[str, str]:
    """Top-level modules of others that these packages import, also by way of ours → one module that does."""
    queue = [module for package in packages for module in modules(package)]
    seen, found = set(queue), {}
    while queue:
        module = queue.pop()
        path = file_of(module)
        assert path is not None, module
        for name in imports(path):
            top = name.partition(".")[0]
            if top not in OURS:
                found[top] = module
                continue
            # To import a.b.c is to import a and a.b too.
            for each in accumulate(name.split("."), "{}.{}".format):
                if each not in seen and file_of(each) is not None:
                    seen.add(each)
                    queue.append(each)
    return {name: module for name, module in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("extra", PACKAGES)
def test_an_extra_declares_what_its_packages_import(extra: str | None) -> None:
    distributions = packages_distributions()
    missing = {
        name: module
        for name, module in imported(PACKAGES[extra]).items()
        if extra in ASKED_FOR.get(name, {extra})
        and not {canonical(each) for each in distributions[name]} & declared(extra)
    }
    assert not missing, f"imported, but not declared by {extra or 'the base package'}"


def test_every_extra_for_users_is_checked() -> None:
    assert {extra for extra in PACKAGES if extra} == EXTRAS.keys() - {"dev"}


def test_what_an_import_needs_is_found_through_our_own_modules() -> None:
    assert {"click", "envoy", "structlog", "xxhash"} <= imported(["cellplane.router"]).keys()
    assert imported(PACKAGES[None]) == {}
