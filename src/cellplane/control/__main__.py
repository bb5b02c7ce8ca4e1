"""``python -m cellplane.control``: the control plane as a process of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cellplane.capacity.settings import CapacitySettings
from cellplane.control.access.settings import AccessSettings, OidcSettings
from cellplane.control.app import serve
from cellplane.control.settings import BridgeSettings, ControlSettings
from cellplane.errors import CellplaneError
from cellplane.logs import configure_logs
from cellplane.model.topology import MAX_CELLS
from cellplane.publishing.guard_rails import GuardRails


@click.command()
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder of the directory.")
@click.option(
    "--database",
    "database_url",
    envvar="CELLPLANE_DIRECTORY_URL",
    help="URL of a PostgreSQL that several control planes share; by default a SQLite file in the state folder.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port of the API.")
@click.option(
    "--signing-key",
    "signing_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of a private key that signs tables (`cellplane keys create`); several, one a jurisdiction.",
)
@click.option(
    "--publish-to",
    multiple=True,
    help="Folder, or s3://bucket/prefix?endpoint=…&region=…, where tables are put beside the API; several.",
)
@click.option(
    "--events-to",
    envvar="CELLPLANE_CONTROL_EVENTS_URL",
    help="URL of a NATS with JetStream, where each phase of a move is told (tenant.move.…), for other systems.",
)
@click.option(
    "--guard-rails/--no-guard-rails",
    "has_guard_rails",
    default=True,
    show_default=True,
    help="Hold a table that would move many tenants, empty a pool or leave a shard without a cell.",
)
@click.option(
    "--max-moved-share",
    type=click.FloatRange(0, 1),
    default=GuardRails().max_moved_share,
    show_default=True,
    help="Part of the tenants, or of a pool's slots, that a table may give another first cell unasked.",
)
@click.option(
    "--lock-cells/--no-lock-cells",
    "locks_cells",
    default=True,
    show_default=True,
    help="Lock a cell, so that it takes no new tenants, when it reports to be full, and unlock it later.",
)
@click.option(
    "--lock-at",
    type=click.FloatRange(0, 1),
    default=CapacitySettings().lock_at,
    show_default=True,
    help="How full that is.",
)
@click.option(
    "--unlock-at",
    type=click.FloatRange(0, 1),
    default=CapacitySettings().unlock_at,
    show_default=True,
    help="Below what a locked cell is opened again.",
)
@click.option(
    "--unlock-after",
    "unlock_seconds",
    type=float,
    default=CapacitySettings().unlock_seconds,
    show_default=True,
    help="Seconds that it stays below that first.",
)
@click.option(
    "--scrape-cells",
    "scrapes_cells",
    is_flag=True,
    help="Ask the /metrics of cells that do not report by themselves.",
)
@click.option(
    "--provisioner",
    default="",
    help="What makes one more cell where a pool runs short: local:FOLDER, or package.module:factory.",
)
@click.option(
    "--max-cells",
    type=click.IntRange(1, MAX_CELLS),
    default=CapacitySettings().max_cells,
    show_default=True,
    help="Most cells of the fleet that it is asked for.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A Host header that is answered beside those of loopback; may be repeated.",
)
@click.option(
    "--tls-cert",
    "tls_certificate",
    type=click.Path(path_type=Path),
    help="PEM file of the API's certificate, with its chain; followed when it changes.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its private key.")
@click.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    help="PEM file of the authorities whose certificates clients must show.",
)
@click.option(
    "--allow-plain-http",
    is_flag=True,
    help="Serve another address than loopback without TLS, as something in front speaks it.",
)
@click.option("--oidc-issuer", help="Issuer (`iss`) of an identity provider whose tokens are taken too.")
@click.option("--oidc-audience", help="Audience (`aud`) that its tokens have.")
@click.option("--oidc-jwks", help="URL or path of its JWK Set.")
@click.option("--oidc-role-claim", default="roles", show_default=True, help="Claim that says what its holder is.")
@click.option(
    "--oidc-role",
    "oidc_roles",
    multiple=True,
    help="A value of that claim and its role, such as platform-team=operator; may be repeated.",
)
@click.option("--oidc-name-claim", default="sub", show_default=True, help="Claim with the name for the change log.")
def main(
    state: Path,
    *,
    allowed_hosts: tuple[str, ...],
    has_guard_rails: bool,
    max_moved_share: float,
    events_to: str | None,
    **options: Any,
) -> None:
    """Run the control plane."""
    configure_logs("control")
    access = AccessSettings(oidc=_oidc({name: options.pop(name) for name in list(options) if name.startswith("oidc_")}))
    rails = GuardRails(max_moved_share=max_moved_share) if has_guard_rails else None
    capacity = CapacitySettings(
        **{name: options.pop(name) for name in ("lock_at", "unlock_at", "unlock_seconds", "max_cells")}
    )
    bridge = BridgeSettings(url=events_to) if events_to else None
    settings = ControlSettings(
        state_dir=state, guard_rails=rails, access=access, capacity=capacity, bridge=bridge, **options
    )
    hosts = (*settings.allowed_hosts, *(host.lower() for host in allowed_hosts))
    try:
        capacity.validate("capacity")
        serve(replace(settings, allowed_hosts=hosts))
    except CellplaneError as error:
        raise click.ClickException(str(error)) from error


def _oidc(options: dict[str, Any]) -> OidcSettings | None:
    """The identity provider of the command line; None where it names none."""
    named = {name: options[f"oidc_{name}"] for name in ("issuer", "audience", "jwks")}
    if not any(named.values()) and not options["oidc_roles"]:
        return None
    if not all(named.values()) or not options["oidc_roles"]:
        raise click.UsageError(
            "an identity provider needs --oidc-issuer, --oidc-audience, --oidc-jwks and at least one --oidc-role"
        )
    roles = [tuple(each.rsplit("=", 1)) for each in options["oidc_roles"]]
    if any(len(pair) != 2 or pair[1] not in {"viewer", "operator", "admin"} for pair in roles):
        raise click.UsageError("--oidc-role: expected VALUE=viewer, VALUE=operator or VALUE=admin")
    return OidcSettings(
        **named, roles=tuple(roles), role_claim=options["oidc_role_claim"], name_claim=options["oidc_name_claim"]
    )


if __name__ == "__main__":
    main()
