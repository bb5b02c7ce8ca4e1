"""Questions to what was counted: by day, tenant, cell and type, filtered and added up."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from cellplane.events.analytics.errors import QueryError
from cellplane.events.analytics.tables import Store


class By(enum.StrEnum):
    """What counts are shown by."""

    DAY = "day"
    TENANT = "tenant"
    CELL = "cell"
    TYPE = "type"

    @property
    def column(self) -> str:
        """Its column."""
        return self.value if self in {By.DAY, By.TYPE} else f"{self.value}_id"


@dataclass(frozen=True, slots=True)
class Question:
    """Which counts, and by what.

    Attributes:
        by: each row is one of these; others are added up.
        first_day: and later ones; None has no bound.
        last_day: and earlier ones.
    """

    by: tuple[By, ...] = tuple(By)
    first_day: date | None = None
    last_day: date | None = None
    tenant_id: str | None = None
    cell_id: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """One row of an answer.

    Attributes:
        by: what it is of, in the order of the question.
        events: how many.
        sums: of the numbers that are summed up, by name.
    """

    by: tuple[Any, ...]
    events: int
    sums: Mapping[str, Decimal]


def counts(store: Store, question: Question, max_rows: int) -> list[Count]:
    """Answer a question.

    Raises:
        QueryError: the answer is too long, or the store cannot answer.
    """
    where, values = _where(question)
    columns = ", ".join(by.column for by in question.by)
    group = f"GROUP BY {columns} ORDER BY {columns}" if columns else ""
    shown = f"{columns}, " if columns else ""
    try:
        rows = store.run(
            f"SELECT {shown}coalesce(sum(events), 0) FROM event_days {where} {group} LIMIT ?::bigint",  # noqa: S608
            [*values, max_rows + 1],
        )
        fields = f"{columns}, field" if columns else "field"
        sums = store.run(
            f"SELECT {fields}, sum(total) FROM event_sums {where} GROUP BY {fields}",  # noqa: S608  # names of By
            values,
        )
    except store.failures as error:
        raise QueryError(f"cannot be answered: {' '.join(str(error).split())}") from error
    if len(rows) > max_rows:
        raise QueryError(f"expected at most {max_rows:,} rows, found more: ask for fewer days, or by less")
    by_key: dict[tuple[Any, ...], dict[str, Decimal]] = {}
    for *key, field, total in sums:
        by_key.setdefault(tuple(key), {})[field] = total
    return [Count(tuple(key), int(events), by_key.get(tuple(key), {})) for *key, events in rows]


def _where(question: Question) -> tuple[str, Sequence[Any]]:
    bounds = (
        ("day >= ?::date", question.first_day),
        ("day <= ?::date", question.last_day),
        ("tenant_id = ?", question.tenant_id),
        ("cell_id = ?", question.cell_id),
        ("type = ?", question.type),
    )
    wanted = [(condition, value) for condition, value in bounds if value is not None]
    where = f"WHERE {' AND '.join(condition for condition, _ in wanted)}" if wanted else ""
    return where, [value for _, value in wanted]
