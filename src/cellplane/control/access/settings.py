"""Every limit and interval of access to the control plane."""

from dataclasses import dataclass
from pathlib import Path

ADMIN_TOKEN = "admin-token"  # noqa: S105  # a file's name
"""Name of the file in the state folder with the token of this machine's admin."""

ADMIN_NAME = "admin"
"""Whom the change log names for it."""

MAX_NAME_CHARS = 64
"""Longest name of a token."""

MAX_TOKEN_CHARS = 8_192
"""Longest credential that is looked at: tokens of identity providers have their claims in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """Settings of an identity provider whose tokens are taken beside the control plane's own."""

    issuer: str
    """What its tokens say as `iss`."""

    audience: str
    """What they say as `aud`, alone or among others: that they are meant for this control plane."""

    jwks: str
    """URL (https, or http on loopback) or path of its JWK Set."""

    roles: tuple[tuple[str, str], ...] = ()
    """Values of the role claim, each with its role: viewer, operator or admin. Of several the strongest counts."""

    role_claim: str = "roles"
    """The claim, a text or a list of texts, that says what its holder is."""

    name_claim: str = "sub"
    """The claim with the name for the change log."""

    clock_skew_seconds: float = 60.0
    """How far clocks may differ, seconds."""

    ca_file: Path | None = None
    """The authorities that vouch for the server of its keys; None for those of the system."""

    keys_refresh_seconds: float = 300.0
    """After how long its keys are read again, seconds: so long a withdrawn key still counts."""

    keys_pause_seconds: float = 10.0
    """Shortest time between two looks, also where a token names a key that is not known, seconds."""

    keys_timeout_seconds: float = 5.0
    """How long each step of one look may take, seconds."""

    keys_kept_seconds: float = 86_400.0
    """How long the last good keys count where no look succeeds, seconds."""

    max_keys_bytes: int = 262_144
    """Largest JWK Set, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Settings of who may call a control plane, and how often."""

    oidc: OidcSettings | None = None
    """An identity provider whose tokens are taken too; None for none."""

    token_cache_seconds: float = 5.0
    """How long a verified token is believed without a look at the directory, seconds: as long a revocation takes at
    other control planes. The one that revokes it refuses it at once."""

    token_offline_seconds: float = 86_400.0
    """How long it is believed where the directory's database cannot be reached, seconds: routers must go on."""

    max_cached_tokens: int = 10_000
    """Most verified tokens that are remembered; the one unused for longest goes first."""

    default_token_days: float = 90.0
    """Lifetime of a token where its maker says none, days."""

    max_token_days: float = 366.0
    """Longest lifetime of a token, days."""

    admin_token_days: float = 366.0
    """Lifetime of the admin token in the state folder, days."""

    admin_renew_days: float = 30.0
    """Rest of its life with which a start of the control plane replaces it, days."""

    max_tokens: int = 10_000
    """Most tokens, dead ones included."""

    dead_token_days: float = 30.0
    """After which a token that expired or was revoked is forgotten, days."""

    last_used_seconds: float = 600.0
    """How coarsely the last use of a token is noted, seconds: it is not written for each request."""

    reads_rps: float = 5_000.0
    """Requests per second of one caller that only read, or report: a thousand routers of one token are below."""

    writes_rps: float = 1_000.0
    """Requests per second of one caller that change something."""

    burst_seconds: float = 2.0
    """How many seconds' worth of these a caller may ask at once."""

    failures_rps: float = 1.0
    """Credentials per second that one source address may get wrong."""

    failures_burst: int = 60
    """How many it may get wrong at once. Callers behind it whose token was known go on."""

    max_callers: int = 20_000
    """Most callers, and source addresses, whose requests are counted; who was silent for longest goes first."""

    audit_days: float = 90.0
    """How long a call is on record, days."""

    max_audit_rows: int = 1_000_000
    """Most calls on record; the oldest go first."""

    refusals_rps: float = 5.0
    """Refused calls per second that are put on record; further ones are only counted
    (``cellplane_audit_dropped_total``)."""

    refusals_burst: int = 200
    """How many of them at once."""

    note_seconds: float = 1.0
    """Time between writes of refused calls and last uses, seconds."""

    forget_seconds: float = 3_600.0
    """Time between looks at what of tokens and the audit is to be forgotten, seconds."""
