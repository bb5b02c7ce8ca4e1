"""Tokens of the control plane's callers."""

from urllib.parse import quote

import click

from cellplane.cli.options import connect, control_option, json_option
from cellplane.cli.output import print_json, print_table

_ROLES = click.Choice(["viewer", "operator", "admin", "cell", "router"])


@click.group()
def token() -> None:
    """Make, list and revoke the tokens by which the control plane knows who asks."""


@token.command()
@click.argument("name")
@click.option("--role", type=_ROLES, required=True, help="What its holder is.")
@click.option("--subject", default=None, help="The cell or router whose it is, for a token of these roles.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    help="Of what the role may do, this alone, such as tenants:write; may be repeated.",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), default=None, help="Lifetime in days.")
@control_option
@json_option
def create(
    name: str,
    *,
    role: str,
    subject: str | None,
    permissions: tuple[str, ...],
    days: float | None,
    control_url: str,
    as_json: bool,
) -> None:
    """Make a token that the change log calls NAME, and print it: this once, and never again."""
    order = {"name": name, "role": role, "subject": subject, "permissions": list(permissions) or None, "days": days}
    with connect(control_url) as client:
        made = client.post("/v1/tokens", order)
    if as_json:
        print_json(made)
        return
    click.echo(made["token"])
    click.echo(f"token {made['id']} of {name} ({role}) until {made['expires_at']}: it is shown this once", err=True)


@token.command(name="list")
@control_option
@json_option
def list_tokens(control_url: str, *, as_json: bool) -> None:
    """List the tokens, without their secrets."""
    with connect(control_url) as client:
        answer = client.list("/v1/tokens")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("ID", "NAME", "ROLE", "OF", "MAY", "STATE", "EXPIRES", "LAST USED", "MADE BY"),
        (
            (
                item["id"],
                item["name"],
                item["role"],
                item["subject"] or "-",
                "all of its role" if item["permissions"] is None else " ".join(item["permissions"]),
                item["state"],
                item["expires_at"],
                item["last_used_at"] or "-",
                item["created_by"],
            )
            for item in answer["items"]
        ),
        empty="There are no tokens.",
    )


@token.command()
@click.argument("token_id", metavar="ID")
@control_option
def revoke(token_id: str, control_url: str) -> None:
    """Let the token of this ID count no more."""
    with connect(control_url) as client:
        revoked = client.delete(f"/v1/tokens/{quote(token_id, safe='')}")
    click.echo(f"token {token_id} of {revoked['name']} is revoked; other control planes know within seconds")
