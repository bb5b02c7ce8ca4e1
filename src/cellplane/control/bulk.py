"""Many tenants at once, a line of JSON each (NDJSON): read into the directory, and written out."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic import ValidationError as InvalidLineError

from cellplane.control.tenant_schemas import TenantSpec
from cellplane.directory import TenantRecord
from cellplane.directory.rows import policy_row
from cellplane.directory.snapshot import NAMED_ROWS
from cellplane.directory.transaction import Transaction
from cellplane.errors import ConflictError, ValidationError
from cellplane.model import NO_POLICY, Tenant, TenantState
from cellplane.model.key import MAX_KEY_BYTES

NDJSON = "application/x-ndjson"


class TenantLine(TenantSpec):
    """A tenant: what a change of one says, and its id."""

    id: Annotated[str, Field(max_length=MAX_KEY_BYTES)]


class Imported(BaseModel):
    """What became of the tenants of an import."""

    lines: int
    created: int
    changed: int
    unchanged: int
    epoch: int = Field(description="Of the directory afterwards")


def import_tenants(transaction: Transaction, body: bytes) -> Imported:
    """Create or change the tenants of these lines: all of them, or none. What a line does not say stays as it is.

    Raises:
        ValidationError: a line is not a tenant; its ``field`` begins with ``line 17``, counted from 1.
        ConflictError: the directory refuses one; the message begins so.
    """
    created = changed = unchanged = 0
    for numbered in _chunks(body):
        transaction.expect_tenants([line.id for _, line in numbered])
        for number, line in numbered:
            try:
                before = transaction.version("tenant", line.id) if line.id.isascii() else None
                placement = transaction.change_tenant(line.id, line.fields(), anew=line.place)
            except ValidationError as error:
                raise error.at(f"line {number}: {line.path(error.field)}") from error
            except ConflictError as error:
                raise ConflictError(f"line {number}: {error}") from error
            if before is None:
                created += 1
            elif placement.record.version != before:
                changed += 1
            else:
                unchanged += 1
    transaction.finish()
    lines = created + changed + unchanged
    return Imported(lines=lines, created=created, changed=changed, unchanged=unchanged, epoch=transaction.epoch)


def line_of(record: TenantRecord) -> dict[str, Any]:
    """What an import takes that makes this tenant; what is as usual is left out."""
    tenant, usual = record.tenant, Tenant(record.tenant.id)
    line: dict[str, Any] = {"id": tenant.id}
    if tenant.shard:
        line["cells"] = list(tenant.shard)
    if tenant.state is not TenantState.ACTIVE:
        line["state"] = tenant.state.value
    for name in ("pool", "tier", "jurisdiction", "shard_size"):
        if getattr(tenant, name) != getattr(usual, name):
            line[name] = getattr(tenant, name)
    if tenant.attributes:
        line["attributes"] = dict(tenant.attributes)
    if tenant.load != usual.load:
        load = tenant.load
        line["load"] = {"tenants": load.tenants, "rps": load.rps, "storage_gib": load.storage_gib}
    if tenant.policy != NO_POLICY:
        line["policy"] = policy_row(tenant.policy)
    return line


def _chunks(body: bytes) -> Iterator[list[tuple[int, TenantLine]]]:
    chunk: list[tuple[int, TenantLine]] = []
    seen: set[str] = set()
    for number, text in enumerate(body.split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            line = TenantLine.model_validate_json(text)
        except InvalidLineError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValidationError(f"line {number}{': ' if where else ''}{where}", first["msg"]) from error
        if line.id in seen:
            raise ValidationError(f"line {number}: id", f"{line.id!r} stands twice")
        seen.add(line.id)
        chunk.append((number, line))
        if len(chunk) >= NAMED_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
