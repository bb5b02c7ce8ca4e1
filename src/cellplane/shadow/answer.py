"""One half of a comparison: what one cell answered, as the proxy's module hands it over.

The module's half is ``native/envoy-module/src/capture.rs``: lines ``name=value``, an empty line, and so much of the
body as it keeps.
"""

from dataclasses import dataclass
from typing import Literal

MAX_LINES = 64
"""Most lines in front of the body: those of an answer, and the paths that are ignored."""

Side = Literal["cell", "shadow"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one cell answered.

    Attributes:
        pair: what both halves of a comparison have in common.
        side: whose it is: that of the cell which the client's request went to, or that of its shadow.
        tenant: whose request it is; empty where it has none.
        shadow: id of the shadow.
        status: HTTP status; 0 where there was no whole answer of the cell itself.
        content_type: value of that header, empty where there is none; so is ``encoding``.
        length: of the body, bytes.
        digest: of all of the body.
        body: its beginning, or all of it.
        cell: id of the cell; only its half says so, as the next ones.
        method: of the request.
        path: of the request, without query.
        ignored: paths of what is not compared.
    """

    pair: str
    side: Side
    tenant: str
    shadow: str
    status: int
    content_type: str
    encoding: str
    length: int
    digest: str
    body: bytes
    cell: str = ""
    method: str = ""
    path: str = ""
    ignored: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all of the body is here."""
        return self.length == len(self.body)


def parse(datagram: bytes) -> Answer:
    """The answer of a datagram.

    Raises:
        ValueError: it is none.
    """
    head, separator, body = datagram.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if not separator or len(lines) > MAX_LINES:
        raise ValueError(f"expected lines and a body, found {len(lines)} lines")
    pairs = [line.partition("=")[::2] for line in lines]
    said = dict(pairs)
    side = said.get("side")
    if side not in ("cell", "shadow") or not said.get("pair") or not said.get("shadow"):
        raise ValueError("expected the half of a pair")
    if side == "cell" and not said.get("cell"):
        raise ValueError("expected the id of a cell")
    return Answer(
        pair=said["pair"],
        side="cell" if side == "cell" else "shadow",
        tenant=said.get("tenant", ""),
        shadow=said["shadow"],
        status=int(said.get("status", "")),
        content_type=said.get("type", ""),
        encoding=said.get("encoding", ""),
        length=int(said.get("length", "")),
        digest=said.get("digest", ""),
        body=body,
        cell=said.get("cell", ""),
        method=said.get("method", ""),
        path=said.get("path", ""),
        ignored=tuple(value for name, value in pairs if name == "ignored"),
    )
