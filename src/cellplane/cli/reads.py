"""Commands that only read."""

from collections.abc import Mapping
from typing import Any

import click

from cellplane.cli.options import connect, control_option, json_option
from cellplane.cli.output import print_json, print_table

_HEALTH = {True: "healthy", False: "down", None: "unknown"}

_UNKNOWN = {
    "slot": "The directory does not list this tenant; its slot places it all the same.",
    "default": "The directory does not list this tenant; unknown ones go to the default cell.",
    "assignment": "The directory does not list this tenant any more; the next table will not.",
}


@click.command()
@control_option
@json_option
def cells(control_url: str, *, as_json: bool) -> None:
    """List the cells: where they are, whether routers reach them, and what they hold of what they can."""
    with connect(control_url) as client:
        answer = client.list("/v1/cells")
    if as_json:
        print_json(answer)
        return
    print_table(
        (
            "CELL",
            "STATUS",
            "HEALTH",
            "SCORE",
            "ENDPOINT",
            "REGION",
            "ZONE",
            "JURISDICTION",
            "RELEASE",
            "PINNED",
            "LOAD",
        ),
        (
            (
                cell["id"],
                cell["status"],
                _HEALTH[cell["healthy"]],
                _score(cell),
                f"{cell['address']}:{cell['port']}",
                cell["region"],
                cell["zone"] or "-",
                cell["jurisdiction"],
                cell["release"] or "-",
                cell["pinned_tenants"],
                _load(cell["load"], cell["capacity"]),
            )
            for cell in answer["items"]
        ),
        empty="There are no cells yet.",
    )


def _score(cell: Mapping[str, Any]) -> str:
    """What routers think of a cell's answers, and what they do about it."""
    if cell["score"] is None:
        return "-"
    notes = [cell["breaker"]] if cell["breaker"] != "closed" else []
    notes += ["gray"] if cell["gray"] else []
    return " ".join([f"{cell['score']:.0f}", *notes])


@click.command()
@control_option
@json_option
def pools(control_url: str, *, as_json: bool) -> None:
    """List the pools: how each places tenants, on which cells, and where those go for whom it has no room."""
    with connect(control_url) as client:
        answer = client.list("/v1/pools")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("POOL", "STRATEGY", "K", "PLACES BY", "OVERFLOW", "CELLS"),
        (
            (
                pool["name"],
                _strategy(pool),
                pool["shard_size"] or (2 if pool["strategy"] == "shuffle" else 1),
                "assignment" if pool["strategy"] == "explicit" or pool["max_overlap"] is not None else "slot",
                pool["overflow"] or "-",
                " ".join(pool["cells"]),
            )
            for pool in answer["items"]
        ),
        empty="There are no pools yet.",
    )


@click.command()
@control_option
@json_option
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Tenants on the page.")
@click.option("--after", default="", help="Only tenants whose id is behind this one.")
@click.option("--cell", default=None, help="Only tenants that are assigned to this cell.")
def tenants(control_url: str, limit: int, after: str, cell: str | None, *, as_json: bool) -> None:
    """List tenants, the cell that serves each, and how it was chosen."""
    with connect(control_url) as client:
        params: dict[str, str | int] = {"limit": limit, "after": after}
        answer = client.get("/v1/tenants", **params, **({} if cell is None else {"cell": cell}))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("TENANT", "CELL", "BY", "SHARD", "POOL", "TIER", "JURISDICTION", "STATE"),
        (
            (
                item["id"],
                item["placed"] or "-",
                "quarantine" if _state(item) == "quarantined" else "assignment" if item["cells"] else "slot",
                " ".join(item["cells"]) or "-",
                item["placed_pool"] or "-",
                item["tier"] or "-",
                item["jurisdiction"] or "-",
                _state(item),
            )
            for item in answer["items"]
        ),
        empty="There are no tenants here.",
    )
    if answer["next"] is not None:
        click.echo(f"There are more: cellplane tenants --after {answer['next']}")


def _state(tenant: Mapping[str, Any]) -> str:
    """Of an active tenant in quarantine, that it is there; routers do what any other state says."""
    is_away = tenant["quarantine"] is not None and tenant["state"] == "active"
    return "quarantined" if is_away else str(tenant["state"])


@click.command()
@click.argument("tenant", required=False)
@click.option("--source", default=None, help="Of a request without a key: the client's IP address.")
@control_option
@json_option
def route(tenant: str | None, source: str | None, control_url: str, *, as_json: bool) -> None:
    """Explain how TENANT, or a request without a key, is routed: pool, slot or assignment, shard, cell."""
    if (tenant is None) == (source is None):
        raise click.UsageError("name a TENANT, or the --source of a request without one")
    with connect(control_url) as client:
        answer = client.get("/v1/route", **({"tenant": tenant} if tenant is not None else {"source": str(source)}))
    if as_json:
        print_json(answer)
        return
    click.echo(answer["text"])
    if tenant is not None and not answer["known"] and answer["cell"] is not None:
        click.echo(_UNKNOWN[answer["reason"]])


@click.command()
@control_option
@json_option
def routers(control_url: str, *, as_json: bool) -> None:
    """List the routers: the epoch that each runs, and what it refused."""
    with connect(control_url) as client:
        answer = client.list("/v1/routers")
    if as_json:
        print_json(answer)
        return
    if answer["published_epoch"] is not None:
        click.echo(f"published epoch: {answer['published_epoch']}")
    print_table(
        ("ROUTER", "STATE", "EPOCH", "BEHIND", "PROXY", "LAST REPORT", "REJECTED"),
        (
            (
                item["id"],
                "lost" if item["lost"] else "ready" if item["ready"] else "not ready",
                item["epoch"],
                item["behind"],
                item["proxy"],
                f"{item['age_seconds']:.1f} s ago",
                _rejected(item["rejected"]),
            )
            for item in answer["items"]
        ),
        empty="No router has reported yet.",
    )


def _rejected(rejected: Mapping[str, Any] | None) -> str:
    """What a router could not take, and why; what is damaged may not even say its epoch."""
    return "-" if rejected is None else f"{rejected['epoch'] or '?'}: {rejected['reason']}"


def _load(load: Mapping[str, float], capacity: Mapping[str, float | None]) -> str:
    """What is declared, each as a part of its capacity where that is known."""
    parts = []
    for name, unit in (("tenants", "tenants"), ("rps", "rps"), ("storage_gib", "GiB")):
        limit = capacity[name]
        if limit is not None:
            parts.append(f"{load[name]:g}/{limit:g} {unit}")
        elif load[name] and name != "tenants":
            parts.append(f"{load[name]:g} {unit}")
    return ", ".join(parts) or "-"


def _strategy(pool: Mapping[str, Any]) -> str:
    """A pool's strategy, with the options that it has."""
    options = [
        *([f"over {' and '.join(pool['spread'])}"] if pool["spread"] else []),
        *([f"overlap ≤ {pool['max_overlap']}"] if pool["max_overlap"] is not None else []),
        *(["dedicated"] if pool["dedicated"] else []),
    ]
    return f"{pool['strategy']} ({', '.join(options)})" if options else str(pool["strategy"])
