"""`cellplane config` and `cellplane flag`: what the apps in cells are told, and for whom a flag is on."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from cellplane.cli.cell_argument import cell_argument
from cellplane.cli.options import connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json, print_table

NOBODY = {"everywhere": False, "cells": [], "percent": 0.0, "tenants": {}}


@click.group()
def config() -> None:
    """Tell the apps in cells their settings: of the fleet, a pool, a cell or a tenant.

    A setting is named fleet/NAME, pool/POOL/NAME, cell/CELL/NAME or tenant/TENANT/NAME. A later of these wins.
    """


@config.command("list")
@click.option("--layer", type=click.Choice(["fleet", "pool", "cell", "tenant"]), default=None, help="Of this alone.")
@click.option("--owner", default=None, help="Of this pool, cell or tenant alone; needs --layer.")
@control_option
@json_option
def list_(layer: str | None, owner: str | None, control_url: str, *, as_json: bool) -> None:
    """List what is said."""
    if owner is not None and layer in {None, "fleet"}:
        raise click.UsageError("--owner needs --layer pool, cell or tenant")
    wanted = {name: value for name, value in (("layer", layer), ("owner", owner)) if value is not None}
    with connect(control_url) as client:
        answer = client.list("/v1/config", **wanted)
    if as_json:
        print_json(answer)
        return
    rows = [(each["id"], json.dumps(each["value"]), each["version"]) for each in answer["items"]]
    print_table(("SETTING", "VALUE", "SINCE EPOCH"), rows, empty="Nothing is said: every app has its defaults.")


@config.command()
@cell_argument
@control_option
@json_option
def show(cell_id: str, control_url: str, *, as_json: bool) -> None:
    """Show what the apps of CELL are told, and by which layer."""
    with connect(control_url) as client:
        answer = client.get(f"/v1/cells/{quote(cell_id, safe='')}/config")
    if as_json:
        print_json(answer)
        return
    layers: Mapping[str, Mapping[str, Any]] = answer["layers"]
    said = {name: (value, layer) for layer in ("fleet", "pool", "cell") for name, value in layers[layer].items()}
    rows = [(name, json.dumps(value), layer) for name, (value, layer) in sorted(said.items())]
    rows += [
        (name, json.dumps(value), f"tenant {tenant}")
        for tenant, values in sorted(answer["tenants"].items())
        for name, value in sorted(values.items())
    ]
    print_table(("SETTING", "VALUE", "BY"), rows, empty="Nothing is said: its apps have their defaults.")
    if answer["flags"]:
        click.echo()
        _print_flags([{"name": name, **spec} for name, spec in sorted(answer["flags"].items())])
    click.echo(f"\nRevision {answer['revision']}.")


@config.command("set")
@click.argument("setting")
@click.argument("value")
@control_option
@json_option
@reason_option
def set_(setting: str, value: str, control_url: str, reason: str, *, as_json: bool) -> None:
    """Say SETTING: VALUE is JSON, or text where it is none."""
    try:
        said = json.loads(value)
    except ValueError:
        said = value
    with connect(control_url, reason) as client:
        answer = client.put(f"/v1/config/{quote(setting)}", {"value": said})
    _done(answer, f"{setting} = {json.dumps(said)}", as_json=as_json)


@config.command()
@click.argument("setting")
@control_option
@json_option
@reason_option
def unset(setting: str, control_url: str, reason: str, *, as_json: bool) -> None:
    """Say SETTING no more: what a weaker layer says counts again."""
    with connect(control_url, reason) as client:
        answer = client.delete(f"/v1/config/{quote(setting)}")
    _done(answer, f"{setting} is not said any more", as_json=as_json)


@click.group()
def flag() -> None:
    """Turn features on, by cell or by a share of the tenants."""


@flag.command("list")
@control_option
@json_option
def list_flags(control_url: str, *, as_json: bool) -> None:
    """List flags, and for whom they are on."""
    with connect(control_url) as client:
        answer = client.list("/v1/flags")
    if as_json:
        print_json(answer)
    else:
        _print_flags(answer["items"])


@flag.command()
@click.argument("name")
@click.option("--cell", "cells", multiple=True, help="For all tenants of this cell; may be repeated.")
@click.option("--percent", type=click.FloatRange(0, 100), default=0.0, help="For this share of all tenants.")
@click.option("--tenant", "tenants", multiple=True, help="For this tenant in any case; may be repeated.")
@click.option("--not-tenant", "not_tenants", multiple=True, help="Not for this one in any case; may be repeated.")
@click.option("--everywhere", is_flag=True, help="For all tenants of all cells.")
@control_option
@json_option
@reason_option
def on(
    name: str,
    *,
    cells: tuple[str, ...],
    percent: float,
    tenants: tuple[str, ...],
    not_tenants: tuple[str, ...],
    everywhere: bool,
    control_url: str,
    reason: str,
    as_json: bool,
) -> None:
    """Say for whom NAME is on; it is off for all others. What was said of it before counts no more."""
    if not (cells or percent or tenants or everywhere):
        raise click.UsageError("say for whom: --cell, --percent, --tenant or --everywhere")
    named = {**dict.fromkeys(tenants, True), **dict.fromkeys(not_tenants, False)}
    if twice := set(tenants) & set(not_tenants):
        raise click.UsageError(f"{min(twice)} is named by --tenant and by --not-tenant")
    spec = {"everywhere": everywhere, "cells": list(cells), "percent": percent, "tenants": named}
    with connect(control_url, reason) as client:
        answer = client.put(f"/v1/flags/{quote(name, safe='')}", spec)
    _done(answer, f"{name} is on {_for_whom(spec)}", as_json=as_json)


@flag.command()
@click.argument("name")
@control_option
@json_option
@reason_option
def off(name: str, control_url: str, reason: str, *, as_json: bool) -> None:
    """Turn NAME off for all."""
    with connect(control_url, reason) as client:
        answer = client.put(f"/v1/flags/{quote(name, safe='')}", NOBODY)
    _done(answer, f"{name} is off", as_json=as_json)


@flag.command()
@click.argument("name")
@control_option
@json_option
@reason_option
def remove(name: str, control_url: str, reason: str, *, as_json: bool) -> None:
    """Forget NAME: it is off for all, and listed no more."""
    with connect(control_url, reason) as client:
        answer = client.delete(f"/v1/flags/{quote(name, safe='')}")
    _done(answer, f"{name} is forgotten", as_json=as_json)


def _done(answer: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{text} (epoch {answer['epoch']}); cells take it within seconds")


def _print_flags(items: list[dict[str, Any]]) -> None:
    rows = [(each["name"], _for_whom(each)) for each in items]
    print_table(("FLAG", "ON"), rows, empty="There are no flags: all that apps ask for are off.")


def _for_whom(spec: Mapping[str, Any]) -> str:
    parts = ["everywhere"] if spec["everywhere"] else []
    if spec["cells"]:
        parts.append(f"in {', '.join(spec['cells'])}")
    if spec["percent"]:
        parts.append(f"for {spec['percent']:g} % of the tenants")
    parts += [f"for {tenant}" for tenant, is_on in sorted(spec["tenants"].items()) if is_on]
    text = ", ".join(parts) or "nowhere"
    spared = [tenant for tenant, is_on in sorted(spec["tenants"].items()) if not is_on]
    return f"{text}, but not for {', '.join(spared)}" if spared else text
