"""Writes docs/reference.md from the code: ``make reference``.

Whatever the code does not document (an option without help, a setting without a docstring) stops the script.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from cellplane.cell.settings import CellSettings
from cellplane.cli.commands import EXIT_FAILED, EXIT_UNREACHABLE, cli
from cellplane.control.__main__ import main as control_process
from cellplane.control.app import create_app
from cellplane.control.capacity.metrics import CapacityMetrics
from cellplane.control.metrics import Metrics
from cellplane.control.move_watch import MoveMetrics
from cellplane.control.report_book import Reported
from cellplane.control.schemas import RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.publishing.metrics import PublishingMetrics
from cellplane.router.__main__ import main as router_process
from cellplane.router.envoy.replies import local_replies
from cellplane.router.metrics import AgentMetrics
from cellplane.router.settings import RouterSettings

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "cellplane"
TARGET = ROOT / "docs" / "reference.md"

USAGE_COLUMNS = 500
"""Width of usage lines, in characters: more than any has, so that none is folded."""

OTHER_VARIABLES = {
    "_CELLPLANE_COMPLETE": ("`cellplane`", "Set by the shell: asks for completions. See `cellplane completion`."),
    "CELLPLANE_FAULT": (
        "every process",
        "For tests: the point at which the process kills itself. Never in production.",
    ),
    "CELLPLANE_DIRECTORY_URL": (
        "`python -m cellplane.control`",
        "Default of `--database`: the PostgreSQL that several control planes share.",
    ),
    "CELLPLANE_CONTROL_EVENTS_URL": (
        "`python -m cellplane.control`",
        "Default of `--events-to`: the NATS where each phase of a move is told, which no list of processes shows.",
    ),
    "CELLPLANE_TOKEN": ("`cellplane`", "The token that says who asks, where there is no `--token-file`."),
    "CELLPLANE_TOKEN_FILE": (
        "`cellplane`, `python -m cellplane.router`",
        "A file with it: default of `--token-file`, behind `CELLPLANE_TOKEN`.",
    ),
    "CELLPLANE_TEST_KAFKA": (
        "`make test`",
        "Host and port of a broker of Kafka, for the tests of queues; without one they take a fake.",
    ),
    "CELLPLANE_TEST_DEPTH": (
        "`make test`",
        "How many times as many examples tests make up as they usually do; `make test-long` has 8.",
    ),
}
"""Environment variables that no option and no setting names: who reads each, and what for."""

CONTROL_MEANINGS = {
    "bad-request": "Any other request that cannot be read, such as a body that is not text.",
    "too-many-watchers": "As many watch changes as may (`max_watchers`): read `GET /v1/events` instead.",
    "foreign-law": "A tenant would be under a law that is not its own. Refused, and in the audit.",
    "idempotency-key-reused": "The `Idempotency-Key` came before with another request: a new request needs a new one.",
    "not-the-leader": "Another control plane leads; ask again.",
    "outcome-unknown": "The database was lost, or its disk failed, in a commit. Look, or ask again with the same key.",
    "precondition-failed": "The resource is not of the version that `If-Match` or `If-None-Match` asks for.",
    "body-too-large": "The body is larger than `max_body_bytes`.",
    "conflict": "The change contradicts what the directory holds.",
    "directory-busy": "Others change the directory for longer than `busy_timeout_ms`; nothing was changed: ask again.",
    "directory-unavailable": "The directory's database cannot be used now.",
    "disk-full": "The directory's disk is full, and nothing was changed: free space on it; it goes on by itself.",
    "disk-failing": "The directory's disk takes nothing, and nothing was changed; it goes on by itself once it does.",
    "internal-error": "The control plane failed; its log says why.",
    "invalid-request": "A parameter or a field is missing, unknown or of another type; `field` names it.",
    "invalid-resource": "A value breaks a rule of the model; `field` names it.",
    "method-not-allowed": "The path exists, but not with this method.",
    "no-such-route": "The API has no such path.",
    "no-cell": "No cell of the tenant's pool takes it; `cells` says why, cell by cell.",
    "no-table": "No table is published yet: the directory needs a fleet, a cell and a pool.",
    "not-found": "What the path or the body names does not exist.",
    "forbidden": "Who asks may not do this; the detail names the permission that it needs.",
    "too-many-requests": "Who asks does so too often, or their address named too many wrong tokens; see `Retry-After`.",
    "unauthenticated": "It has no `Authorization: Bearer …`, or one that is not known, was revoked or has expired.",
    "wrong-host": "The `Host` header is none of `allowed_hosts`.",
}
"""What the control plane's codes mean: its details are written where each is raised."""

CONTENTS = (
    "[Commands](#commands), [processes](#processes), [settings](#settings), [metrics](#metrics), "
    "[environment variables](#environment-variables), [exit codes](#exit-codes), "
    "[routes of the API](#routes-of-the-api), [problem codes](#problem-codes)."
)

Row = tuple[str, ...]


def reference() -> str:
    """The whole page."""
    parts = [
        "<!-- Generated by `make reference` from the code. Do not edit by hand. -->",
        "# Reference",
        CONTENTS,
        *commands(),
        *settings(),
        *metrics(),
        *environment_variables(),
        *exit_codes(),
        *routes(),
        *problem_codes(),
    ]
    return "\n\n".join(parts) + "\n"


def table(columns: Row, rows: Iterable[Row]) -> str:
    """A Markdown table, or nothing where it would be empty."""
    lines = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in [" | ".join(columns), " | ".join("---" for _ in columns), *lines])


def code(text: object) -> str:
    """Text as code, or nothing where there is none."""
    return f"`{text}`" if text not in {None, ""} else ""


def documented(what: str, text: str | None) -> str:
    """A docstring's first paragraph on one line, in Markdown."""
    if not text or not text.strip():
        raise SystemExit(f"{what} is not documented: expected a docstring or a help text")
    paragraph = re.split(r"\n\s*\n", text.strip())[0]
    return " ".join(paragraph.split()).replace("``", "`")


def commands() -> Iterator[str]:
    """The command line and the two processes behind it."""
    yield "## Commands"
    yield "Every command takes `-h` or `--help`."
    for path, command in command_tree(cli, "cellplane"):
        yield from command_section(path, command)
    yield "## Processes"
    yield "What `cellplane demo` and `cellplane up` start. Each can be started by itself."
    yield from command_section("python -m cellplane.control", control_process)
    yield from command_section("python -m cellplane.router", router_process)


def command_tree(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command, then all below it in the order of their help."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, "a command that is listed is there"
            yield from command_tree(below, f"{path} {name}")


def command_section(path: str, command: click.Command) -> Iterator[str]:
    """One command."""
    context = click.Context(command, info_name=path, terminal_width=USAGE_COLUMNS, max_content_width=USAGE_COLUMNS)
    documented(path, command.help)
    yield f"### {path}"
    yield f"```\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    yield "\n\n".join(" ".join(text.split()) for text in re.split(r"\n\s*\n", (command.help or "").strip()))
    options = table(
        ("option", "value", "default", "environment", "what"),
        (option_row(path, param) for param in command.params if isinstance(param, click.Option)),
    )
    if options:
        yield options


def option_row(path: str, option: click.Option) -> Row:
    """One option."""
    about = option.to_info_dict()
    names = " ".join(code(name) for name in [*about["opts"], *about["secondary_opts"]])
    flag, default = about["is_flag"], about["default"]
    if flag:
        default = (about["opts"] if default else about["secondary_opts"] or [""])[0]
    shown = "required" if about["required"] else code(default)
    what = documented(f"{path} {about['opts'][0]}", about["help"])
    return names, "" if flag else value_range(about["type"]), shown, code(about["envvar"]), what


def value_range(kind: dict[str, Any]) -> str:
    """What an option takes."""
    if "choices" in kind:
        return " ".join(code(choice) for choice in kind["choices"])
    return f"{kind['min']}–{kind['max']}" if kind["param_type"] == "IntRange" else str(kind["name"])


def settings() -> Iterator[str]:
    """Every dataclass of a module that is called settings."""
    yield "## Settings"
    yield (
        "Every limit, time-out and interval. A process takes some of them from its options, above, or from its "
        "environment, below; for the others the default holds. An expression is the code's own."
    )
    for path in sorted(SOURCE.rglob("settings.py")):
        module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and is_dataclass(node):
                yield f"### {module}.{node.name}"
                yield documented(node.name, ast.get_docstring(node))
                rows = [
                    (code(name), code(kind), default, documented(f"{node.name}.{name}", text))
                    for name, kind, default, text in attributes(node, path.read_text())
                ]
                yield table(("setting", "type", "default", "what"), rows)


def is_dataclass(node: ast.ClassDef) -> bool:
    """Whether a class is decorated as one."""
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def attributes(node: ast.ClassDef, source: str) -> Iterator[tuple[str, str, str, str | None]]:
    """Name, type, default and docstring of each attribute."""
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = None
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = str(after.value.value)
            yield statement.target.id, ast.unparse(statement.annotation), default_of(statement.value, source), text


def default_of(value: ast.expr | None, source: str) -> str:
    """An attribute's default as the code writes it."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        value = next((word.value for word in value.keywords if word.arg in {"default", "default_factory"}), None)
    return "required" if value is None else code(ast.get_source_segment(source, value))


def metrics() -> Iterator[str]:
    """What both processes count."""
    yield "## Metrics"
    yield (
        "In Prometheus' text format. A histogram is exported as `_bucket`, `_sum` and `_count`. Envoy's own "
        "(`envoy_…`) come with the agent's."
    )
    control = Metrics()
    report = RouterReport(epoch=1, sha256="", proxy="", ready=True)
    control.show_routers(lambda: [(Reported("router-1", report, 0), 0)])
    served = (
        ("Control plane: `/metrics` of the API", control),
        ("Router's agent: `/metrics` at `--metrics-port`, on loopback", AgentMetrics()),
    )
    for title, holder in served:
        yield f"### {title}"
        yield table(("metric", "type", "labels", "what"), metric_rows(held_by(holder), holder.registry))


def held_by(holder: object) -> list[MetricWrapperBase]:
    """The metrics of an object, and of what it has of publishing, capacity and moves."""
    values = [*vars(holder).values()]
    parts = (PublishingMetrics, CapacityMetrics, MoveMetrics)
    values += [value for part in values if isinstance(part, parts) for value in vars(part).values()]
    return [value for value in values if isinstance(value, MetricWrapperBase)]


def metric_rows(held: list[MetricWrapperBase], registry: CollectorRegistry) -> list[Row]:
    """These metrics, and those that the registry collects from elsewhere, with a sample each."""
    rows: list[Row] = []
    names: set[str] = set()
    for metric in held:
        about = next(iter(metric.describe()))
        names.add(about.name)
        exported = about.name + ("_total" if about.type == "counter" else "")
        labels = " ".join(code(label) for label in metric._labelnames)  # noqa: SLF001  # no public name tells them
        rows.append((code(exported), about.type, labels, documented(exported, about.documentation)))
    for family in registry.collect():
        if family.name not in names:
            labels = " ".join(code(label) for label in family.samples[0].labels)
            rows.append((code(family.name), family.type, labels, documented(family.name, family.documentation)))
    return sorted(rows)


def environment_variables() -> Iterator[str]:
    """What is read from the environment."""
    yield "## Environment variables"
    yield (
        "An option on the command line wins over its variable. The example app reads more of its own: "
        "`examples/notifications/README.md`."
    )
    yield table(
        ("variable", "read by", "what"), [(code(name), *row) for name, row in sorted(described_variables().items())]
    )


def described_variables() -> dict[str, tuple[str, str]]:
    """Who reads each variable, and what for."""
    found = dict(OTHER_VARIABLES)
    readers: dict[str, list[str]] = {}
    for path, command in command_tree(cli, "cellplane"):
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                readers.setdefault(option.envvar, []).append(code(path.removeprefix("cellplane ")))
                what = f"Default of `{option.opts[0]}`: {documented(path, option.help)}"
                found[option.envvar] = (" ".join(readers[option.envvar]), what)
    source = (SOURCE / "cell" / "settings.py").read_text()
    node = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == CellSettings.__name__)
    for name, _kind, _default, text in attributes(node, source):
        what = documented(name, text)
        variable = re.search(r"`(CELLPLANE_[A-Z_]+)`", what)
        assert variable is not None, f"the docstring of CellSettings.{name} names its variable"
        found[variable[1]] = ("a cell's processes", what.replace(f", `{variable[1]}`", ""))
    return found


def exit_codes() -> Iterator[str]:
    """What the command line ends with, from its own help."""
    match = re.search(r"Exit codes: (.*?)\.", " ".join((cli.help or "").split()))
    assert match is not None, "the command line's help lists the exit codes"
    codes = dict(item.split(" ", 1) for item in match[1].split(", "))
    assert {str(EXIT_FAILED), str(EXIT_UNREACHABLE)} <= codes.keys(), "the help lists every exit code"
    yield "## Exit codes"
    yield table(("code", "what"), [(code(number), what.capitalize() + ".") for number, what in codes.items()])


def routes() -> Iterator[str]:
    """The control plane's API."""
    api = create_app(ControlSettings(state_dir=Path("unused"), port=1)).openapi()
    schemas = api["components"]["schemas"]
    yield "## Routes of the API"
    yield (
        "The control plane describes them in full at `/openapi.json`. A name with `?` may be left out. "
        "All but `/healthz` need `Authorization: Bearer …`. `x-cellplane-actor` and `x-cellplane-reason` are headers: "
        "on whose behalf, and why, notes for the change log."
    )
    yield table(
        ("method", "path", "takes", "what"),
        [
            (
                method.upper(),
                code(path),
                taken(route, schemas),
                documented(f"{method} {path}", route.get("description")),
            )
            for path, methods in api["paths"].items()
            for method, route in methods.items()
        ],
    )


def taken(route: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Parameters that are not in the path, and the fields of the body."""
    parameters = [p for p in route.get("parameters", []) if p["in"] != "path"]
    groups = [
        (kind, [code(p["name"] + ("" if p.get("required") else "?")) for p in parameters if p["in"] == kind])
        for kind in ("query", "header")
    ]
    if "requestBody" in route:
        ((media_type, content),) = route["requestBody"]["content"].items()
        if media_type == "application/json":
            schema = schemas[content["schema"]["$ref"].rsplit("/", 1)[1]]
            required = schema.get("required", [])
            groups.append(("body", [code(name + ("" if name in required else "?")) for name in schema["properties"]]))
        else:
            groups.append(("body", [code(media_type)]))
    return "; ".join(f"{kind}: {' '.join(names)}" for kind, names in groups if names)


def problem_codes() -> Iterator[str]:
    """Every code, from the four that answer."""
    yield "## Problem codes"
    yield (
        "Every error is a problem document (RFC 9457, `application/problem+json`); programs compare its `code`. "
        "Every 503 has `Retry-After`. An app's own codes are its own business."
    )
    answering: tuple[tuple[str, Callable[[], Iterable[Row]]], ...] = (
        ("router: the Envoy module", module_problems),
        ("router: Envoy", envoy_problems),
        ("control plane", control_problems),
        ("cell: `CellMiddleware`", cell_problems),
    )
    rows = [(code(name), status, who, what) for who, read in answering for name, status, what in read()]
    yield table(("code", "status", "who answers", "what"), sorted(set(rows)))


def module_problems() -> list[Row]:
    """The table in Rust."""
    text = (ROOT / "native" / "envoy-module" / "src" / "problem.rs").read_text()
    found = re.findall(r'name: "([^"]+)", status: (\d+),\s*title: "[^"]+",\s*detail: "([^"]+)"', text)
    announced = re.search(r"PROBLEMS: \[Problem; (\d+)\]", text)
    assert announced is not None, "problem.rs announces the length of its table"
    assert len(found) == int(announced[1]), "every problem of problem.rs is read"
    return found


def envoy_problems() -> list[Row]:
    """The local replies that the agent configures."""
    unused = Path("unused")
    settings = RouterSettings(router_id="router-1", control_url="", state_dir=unused, port=1)
    documents = [mapper["body_format_override"]["json_format"] for mapper in local_replies(settings)["mappers"]]
    return [(document["code"], str(document["status"]), document["detail"]) for document in documents]


def cell_problems() -> list[Row]:
    """The SDK's ``Problem(code, status, title, …)``."""
    rows: list[Row] = []
    for call in calls_in("cell", "Problem"):
        name, status, title = (ast.literal_eval(argument) for argument in call.args[:3])
        rows.append((name, str(status), f"{title}."))
    return rows


def control_problems() -> list[Row]:
    """The control plane's ``problem(HTTPStatus.X, code, …)``, and the codes that go by status."""
    found: set[tuple[str, str]] = set()
    for call in calls_in("control", "problem"):
        status, name = call.args[:2]
        if isinstance(name, ast.Constant) and isinstance(status, ast.Attribute):
            found.add((str(name.value), str(HTTPStatus[status.attr].value)))
        else:
            found |= codes_by_status(name)
    names = {name for name, _status in found}
    if names != CONTROL_MEANINGS.keys():
        differ = ", ".join(sorted(names ^ CONTROL_MEANINGS.keys()))
        raise SystemExit(f"CONTROL_MEANINGS and the control plane's codes differ: {differ}. Mend scripts/reference.py")
    return [(name, status, CONTROL_MEANINGS[name]) for name, status in found]


def codes_by_status(expression: ast.expr) -> set[tuple[str, str]]:
    """The mapping and the fallback of ``_CODES.get(status, fallback)`` in ``problems.py``."""
    match = re.fullmatch(r"_CODES\.get\(status, '([^']+)'\)", ast.unparse(expression))
    if match is None:
        raise SystemExit(f"expected a code or _CODES.get(status, …), found {ast.unparse(expression)}")
    text = (SOURCE / "control" / "problems.py").read_text()
    listed = re.findall(r'^    HTTPStatus\.(\w+): "([^"]+)",$', text, re.MULTILINE)
    assert listed, "problems.py lists its codes by status"
    return {(match[1], "4xx"), *((name, str(HTTPStatus[status].value)) for status, name in listed)}


def calls_in(folder: str, name: str) -> Iterator[ast.Call]:
    """Calls of a name in all modules of a folder."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == name:
                yield node


if __name__ == "__main__":
    TARGET.write_text(reference())
