"""A request that is being made up, what it says of its tenant, and what may become of it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cellplane.model import KeySourceKind, MissingKey, UnknownTenant, is_key
from fuzz.corpus import Corpus
from fuzz.fleet import TENANTS, Variant

MARKER = "x-fuzz"
"""The header by which cells and clients know a request: ``number.variant.who may be asked for``."""

NOBODY = "-"
"""Of a marker: no cell may see the request."""

NO_TENANT = "!"
"""Of a marker: a cell may see it without a tenant, where the client's address is the key."""


class Shape(Enum):
    """What the form of a request allows, whoever it is for."""

    SOUND = "it is HTTP that a router takes"
    ODD = "a router may take it or refuse it"
    BAD = "a router refuses it"


@dataclass(frozen=True)
class Says:
    """What one source of the key says.

    Attributes:
        keys: those that it may be taken for, at most one where it is clear.
        may_refuse: whether it may be a reason to refuse the request.
        may_be_silent: whether the next source may be asked instead.
    """

    keys: tuple[str, ...] = ()
    may_refuse: bool = False
    may_be_silent: bool = False


SILENT = Says(may_be_silent=True)
WRONG = Says(may_refuse=True)


@dataclass(frozen=True)
class Outcome:
    """What may become of a request: a tenant's cell may answer it, or the router refuses it, or both would be right."""

    tenants: tuple[str, ...]
    may_refuse: bool


@dataclass
class Draft:
    """A request of HTTP/1.1 as tricks change it.

    Attributes:
        number: of the request; with the seed, it says all.
        token: what the token says, if one is there; ``refused`` overrules every other source.
        says: what each source says that is not silent.
        shape: see Shape.
        ends_connection: whether the router may close the connection, with an answer or without one.
        is_cut: whether it never becomes whole, so that an answer may never come.
        dropped: sources that the router may not see, since the client has said so.
        proven: tenants of valid tokens, also where another token speaks against them.
        raw: bytes in place of the head and the body that the fields say; ``%MARKER%`` stands for the marker.
        tricks: names of those that were played.
    """

    number: int
    variant: Variant
    corpus: Corpus
    rng: random.Random
    method: str = "GET"
    target: bytes = b"/x"
    version: bytes = b"HTTP/1.1"
    hosts: list[bytes] = field(default_factory=lambda: [b"api.internal"])
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    says: dict[KeySourceKind, Says] = field(default_factory=dict)
    is_refused: bool = False
    shape: Shape = Shape.SOUND
    ends_connection: bool = False
    is_cut: bool = False
    raw: bytes | None = None
    dropped: frozenset[KeySourceKind] = frozenset()
    proven: set[str] = field(default_factory=set)
    tricks: list[str] = field(default_factory=list)

    def tenant(self) -> str:
        """One of the fleet's."""
        return self.rng.choice(TENANTS)

    def add(self, name: str | bytes, value: str | bytes) -> None:
        """Add a header."""
        self.headers.append(
            (
                name.encode("latin-1") if isinstance(name, str) else name,
                value.encode("latin-1") if isinstance(value, str) else value,
            )
        )

    def odd(self) -> None:
        """A router may refuse it for its form."""
        if self.shape is Shape.SOUND:
            self.shape = Shape.ODD

    def bad(self) -> None:
        """A router must refuse it for its form, and may close the connection."""
        self.shape = Shape.BAD
        self.ends_connection = True

    @property
    def writes(self) -> bool:
        """Whether the method is one that changes something."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    def outcome(self) -> Outcome:
        """What may become of it."""
        if self.shape is Shape.BAD:
            return Outcome((), may_refuse=True)
        tenants, may_refuse = ((), True) if self.is_refused else self._by_sources(self.says)
        if self.dropped and not (self.is_refused and KeySourceKind.JWT_CLAIM not in self.dropped):
            others, _ = self._by_sources({kind: said for kind, said in self.says.items() if kind not in self.dropped})
            # Of two tokens in two places, the router may be left with the one that is valid.
            proven = sorted(self.proven) if KeySourceKind.JWT_CLAIM in self.dropped else ()
            tenants, may_refuse = tuple(dict.fromkeys((*tenants, *others, *proven))), True
        return Outcome(tenants, may_refuse or self.shape is Shape.ODD)

    def _by_sources(self, says: Mapping[KeySourceKind, Says]) -> tuple[tuple[str, ...], bool]:
        tenants: list[str] = []
        may_refuse = False
        for source in self.variant.sources:
            said = says.get(source.kind, SILENT)
            for key in said.keys:
                if is_key(key.encode("latin-1", "replace")) and self._is_served(key):
                    tenants.append(key)
                else:
                    may_refuse = True
            may_refuse |= said.may_refuse
            if not said.may_be_silent:
                return tuple(dict.fromkeys(tenants)), may_refuse
        if self.variant.missing is MissingKey.SOURCE_HASH and not self.writes:
            tenants.append(NO_TENANT)
        else:
            may_refuse = True
        return tuple(dict.fromkeys(tenants)), may_refuse

    def _is_served(self, key: str) -> bool:
        return self.variant.unknown is UnknownTenant.HASH or key in TENANTS

    def marker(self) -> bytes:
        """What its marker says."""
        return self.marker_of(self.outcome().tenants)

    def marker_of(self, tenants: Sequence[str]) -> bytes:
        """What a marker of this request says that may be answered for these."""
        return f"{self.number}.{self.variant.name}.{','.join(tenants) or NOBODY}".encode("latin-1")

    def render(self) -> bytes:
        """Its bytes."""
        if self.raw is not None:
            return self.raw.replace(b"%MARKER%", self.marker())
        lines = [self.method.encode() + b" " + self.target + b" " + self.version]
        # Before all that tricks write: a line that goes on (RFC 9112, 5.2) must not go on with the marker.
        lines.append(MARKER.encode() + b": " + self.marker())
        lines += [b"Host: " + host for host in self.hosts]
        lines += [name + b": " + value for name, value in self.headers]
        if self.body or self.writes:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", b""]) + self.body
