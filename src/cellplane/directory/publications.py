"""Publications as the store keeps them: every one's checksum, and the bytes of the last few."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from cellplane.directory import schema


@dataclass(frozen=True, slots=True)
class StoredPublication:
    """A published table.

    Attributes:
        epoch: its epoch.
        sha256: checksum of its overlay, or of its base where it has none.
        base_sha256: checksum of its base.
        overlay: bytes of its overlay, none where the base says all.
        overlay_tenants: how many tenants the overlay is about.
        at: when it was published, UTC, ISO 8601; set where it is kept.
        token: fencing token of who published it; set where it is kept.
    """

    epoch: int
    sha256: str
    base_sha256: str
    overlay: bytes
    overlay_tenants: int
    at: str = ""
    token: int = 0


def read_last(connection: Connection) -> StoredPublication | None:
    """The last publication whose bytes are kept."""
    query = select(_TABLE).where(_TABLE.c.base.is_not(None)).order_by(_TABLE.c.epoch.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return StoredPublication(
        row["epoch"],
        row["sha256"],
        row["base"],
        bytes(row["overlay"] or b""),
        row["overlay_tenants"],
        row["at"],
        row["token"],
    )


def read_last_epoch(connection: Connection) -> int:
    """The epoch of the last publication; 0 for none."""
    return int(connection.execute(select(func.coalesce(func.max(_TABLE.c.epoch), 0))).scalar_one())


def read_base(connection: Connection, sha256: str) -> bytes | None:
    """The bytes of a base; None where they are not kept."""
    found = connection.execute(select(_BASES.c.data).where(_BASES.c.sha256 == sha256)).scalar()
    return None if found is None else bytes(found)


def find_checksum(connection: Connection, epoch: int) -> str | None:
    """The checksum under which an epoch was published; None where it was not."""
    found = connection.execute(select(_TABLE.c.sha256).where(_TABLE.c.epoch == epoch)).scalar()
    return None if found is None else str(found)


def has_bytes(connection: Connection, epoch: int) -> bool:
    """Whether the bytes of an epoch are kept."""
    query = select(_TABLE.c.epoch).where(_TABLE.c.epoch == epoch, _TABLE.c.base.is_not(None))
    return connection.execute(query).first() is not None


def write(connection: Connection, publication: StoredPublication, base_epoch: int, base: bytes, kept: int) -> None:
    """Keep a publication, of a larger epoch than all before, and drop the bytes of those but the last ``kept``."""
    known = connection.execute(select(_BASES.c.epoch).where(_BASES.c.sha256 == publication.base_sha256)).first()
    if known is None:
        connection.execute(insert(_BASES).values(sha256=publication.base_sha256, epoch=base_epoch, data=base))
    # One of an older release is known without its bytes.
    connection.execute(delete(_TABLE).where(_TABLE.c.epoch == publication.epoch))
    connection.execute(
        insert(_TABLE).values(
            epoch=publication.epoch,
            sha256=publication.sha256,
            at=publication.at,
            token=publication.token,
            base=publication.base_sha256,
            overlay=publication.overlay,
            overlay_tenants=publication.overlay_tenants,
        )
    )
    with_bytes = select(_TABLE.c.epoch).where(_TABLE.c.base.is_not(None)).order_by(_TABLE.c.epoch.desc())
    last = [int(epoch) for epoch in connection.execute(with_bytes.limit(kept)).scalars()]
    is_older = _TABLE.c.base.is_not(None) & (_TABLE.c.epoch < last[-1])
    connection.execute(update(_TABLE).where(is_older).values(base=None, overlay=None))
    still = select(_TABLE.c.base).where(_TABLE.c.base.is_not(None))
    connection.execute(delete(_BASES).where(_BASES.c.sha256.not_in(still)))


_TABLE = schema.publications
_BASES = schema.bases
