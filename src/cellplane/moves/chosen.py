"""Which tables are the tenant's, where moves.yaml says so rather than lets them be found (pure)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cellplane.manifest.shapes import did_you_mean
from cellplane.moves.fields import Place, Reader, WrongError, text_of
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Refusal, Table

FIELD = "tables"
"""Name of the field of moves.yaml."""

_FIELDS = ("tenantColumn", "include", "leftOut")


@dataclass(frozen=True, slots=True)
class ChosenTables:
    """What is said of tables. A name is as messages have it; of PostgreSQL, one without a schema is of ``public``.

    Attributes:
        tenant_column: name of the column that holds the tenant's id, in each table that has one.
        include: all tables with that column that move; none said: those that have it.
        left_out: those with that column that stay where they are.
    """

    tenant_column: str = field(default=MoverSettings().tenant_column)
    include: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def settings(self, settings: MoverSettings) -> MoverSettings:
        """Those of a mover, with what is said here. What is left out anyway stays so."""
        # A mover of PostgreSQL knows tables by their schema, one of SQLite has none.
        names = dict.fromkeys(each for name in self.left_out for each in (name, f"public.{name}"))
        return replace(settings, tenant_column=self.tenant_column, left_out=(*settings.left_out, *names))

    def refusals(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        """Why a tenant cannot be moved as is said here, each with advice; none: it can.

        Args:
            source: all tables of the cell that has the tenant, but those that are left out anyway.
            target: likewise of the cell that is to have it.
        """
        tables = {table.name: table for table in (*target, *source)}
        return tuple(dict.fromkeys(map(str, self._refusals(tables))))

    def _refusals(self, tables: dict[str, Table]) -> Iterator[Refusal]:
        always = MoverSettings().left_out
        included = {said: _named(said, tables) for said in self.include}
        stay = {said: _named(said, tables) for said in self.left_out if _named(said, always) is None}
        for said, name in (included | stay).items():
            if name is None:
                known = {each for name in tables for each in (name, name.removeprefix("public."))}
                hint = did_you_mean(said, sorted(known))
                yield Refusal(said, f"neither cell has this table{hint}", f"correct {FIELD} of moves.yaml")
            elif said in included and tables[name].column(self.tenant_column) is None:
                yield Refusal(
                    name,
                    f"it has no column {self.tenant_column}, by which its rows would be the tenant's",
                    f"give it one, or take it out of {FIELD}.include",
                )
        staying = {name for name in stay.values() if name is not None}
        has_tenant = [table for _, table in sorted(tables.items()) if table.column(self.tenant_column) is not None]
        if self.include:
            chosen = {*included.values(), *staying}
            yield from (_forgotten(table, self.tenant_column) for table in has_tenant if table.name not in chosen)
        moved = {table.name for table in has_tenant} - staying
        yield from self._torn(tables.values(), moved, staying)

    def _torn(self, tables: Collection[Table], moved: set[str], staying: set[str]) -> Iterator[Refusal]:
        """Tables that are left out, and belong together with some that are not."""
        whose = {table.name for table in tables if table.column(self.tenant_column) is not None}
        for table in sorted(tables, key=lambda table: table.name):
            for name in sorted({reference.table for reference in table.references}):
                if table.name in staying and name in moved:
                    yield Refusal(
                        table.name, f"it is left out, and its rows reference rows of {name}, which move", _TOGETHER
                    )
                elif table.name in moved and name in staying & whose:
                    yield Refusal(table.name, f"its rows reference rows of {name}, which is left out", _TOGETHER)


_TOGETHER = f"name both, or none of them, under {FIELD}.leftOut"


def _forgotten(table: Table, tenant_column: str) -> Refusal:
    return Refusal(
        table.name,
        f"it has a column {tenant_column}, and moves.yaml neither includes it nor leaves it out",
        f"name it under {FIELD}.include, or, if its rows are to stay where they are, under {FIELD}.leftOut",
    )


def _named(said: str, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in {said, f"public.{said}"}), None)


def read_chosen(top: Reader) -> ChosenTables:
    """What moves.yaml says of tables.

    Raises:
        WrongError: it says something that is not understood.
    """
    place = top.at(FIELD)
    if place is None:
        return ChosenTables()
    found = Reader(place.node, place.path, _FIELDS)
    include, left_out = _names(found, "include"), _names(found, "leftOut")
    for name, where in left_out.items():
        if _named(name, include) is not None or name.removeprefix("public.") in include:
            raise WrongError(where.path, where.node.mark, f"{name} is under include too: take it out of one of them")
    column = found.text("tenantColumn", MoverSettings().tenant_column)
    return ChosenTables(column, tuple(include), tuple(left_out))


def _names(found: Reader, name: str) -> dict[str, Place]:
    if found.at(name) is None:
        return {}
    return {text_of(place): place for place in found.texts(name)}
