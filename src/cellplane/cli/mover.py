"""Moves tenants between the cells of a fleet: what `cellplane move` is put together from."""

import secrets
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellplane.cli.move_cells import cells_in
from cellplane.cli.move_planned import Planned
from cellplane.cli.options import connect
from cellplane.client import Client
from cellplane.moves.book import MoveBook
from cellplane.moves.carriers.cargo import Cargo
from cellplane.moves.chosen import ChosenTables
from cellplane.moves.config import FILE, MovesConfig, config_of, read_config
from cellplane.moves.driver import Driver
from cellplane.moves.errors import MoveError, NotMovableError
from cellplane.moves.expecting import Carried, expected
from cellplane.moves.hooks import FileHookRecord
from cellplane.moves.move import Move
from cellplane.moves.mover import DataMover, Estimate
from cellplane.moves.records import FileRecords
from cellplane.moves.reports import ControlPlaneReports
from cellplane.moves.routes import ControlPlaneRoutes
from cellplane.moves.settings import CutoverSettings, DriverSettings, MoverSettings
from cellplane.moves.shadowing import PolicyShadows
from cellplane.moves.steps import Steps
from cellplane.moves.stores import kind_of, mover_between, tables_in

HOOKS = "hooks.json"
"""Name of the record of hooks, in the folder of a move."""


class Mover:
    """What moves tenants between the cells of a fleet.

    Args:
        state_dir: the folder of a local fleet, or one with a cells.yaml.
        stack: ends the connections.

    Raises:
        MoveError: the cells.yaml there is not understood.
        ProvisionError: no fleet is there.
    """

    def __init__(self, state_dir: Path, stack: ExitStack) -> None:
        self.cells = cells_in(state_dir)
        self.client: Client = stack.enter_context(connect(self.cells.control_url, "cellplane move"))
        self.routes = ControlPlaneRoutes(self.client)
        self.book = MoveBook(self.cells.moves)
        self.reports = ControlPlaneReports(self.client, self.book)
        self._configs: dict[str, MovesConfig] = {}
        self._cargoes: dict[str, Cargo] = {}

    @property
    def driver(self) -> Driver:
        """Makes the steps of moves."""
        return Driver(self.book, self.routes, self.steps_of, DriverSettings(), reports=self.reports)

    def steps_of(self, move: Move) -> Steps:
        """The steps of a move."""
        records = FileRecords(self.cells.records)
        mover = self.mover_of(move)
        hooks = self._config_of(move).hooks_with(FileHookRecord(self.book.root / move.id / HOOKS))
        cargo = self.cargo_of(move)
        shadows = PolicyShadows(self.client, self._config_of(move).shadow)
        return Steps(move, mover, self.routes, records, CutoverSettings(), cargo=cargo, hooks=hooks, shadows=shadows)

    def cargo_of(self, move: Move, config: MovesConfig | None = None) -> Cargo:
        """What moves with a tenant beside its rows: by a configuration, or by that which the move has kept.

        It is the same for all steps, since it knows what it has looked up.

        Raises:
            MoveError: it cannot be carried.
        """
        if config is not None:
            return config.cargo(move, self.cells.queues)
        if move.id not in self._cargoes:
            self._cargoes[move.id] = self._config_of(move).cargo(move, self.cells.queues)
        return self._cargoes[move.id]

    def config(self, path: Path | None) -> MovesConfig:
        """What a file says, or the fleet's own where none is named.

        Raises:
            MoveError: it is not understood.
        """
        if path is None and not (self.cells.moves.parent / FILE).exists():
            return MovesConfig()
        return read_config(path or self.cells.moves.parent / FILE)

    def _config_of(self, move: Move) -> MovesConfig:
        if move.id not in self._configs:
            self._configs[move.id] = config_of(self.book.root / move.id)
        return self._configs[move.id]

    def mover_of(self, move: Move, config: MovesConfig | None = None) -> DataMover:
        """What carries its rows: by a configuration, or by that which the move has kept."""
        tables = (config or self._config_of(move)).tables
        settings = tables.settings(MoverSettings(copy_bytes_per_second=move.copy_bytes_per_second))
        source, target = self.database(move.source), self.database(move.target)
        peers = (self.cells.peer_databases.get(move.source), self.cells.peer_databases.get(move.target))
        return mover_between(move.tenant_id, move.id, source, target, settings, peer_urls=peers)

    def estimate_of(self, move: Move, config: MovesConfig) -> Estimate:
        """What a move would carry by a configuration, and all that keeps it from being made."""
        with closing(self.mover_of(move, config)) as rows:
            estimate = rows.estimate()
        if config.tables == ChosenTables():
            return estimate
        settings = MoverSettings(tenant_column=config.tables.tenant_column)
        tables = (tables_in(cell, self.database(cell), settings) for cell in (move.source, move.target))
        refusals = (*config.tables.refusals(*tables), *estimate.refusals)
        return replace(estimate, refusals=refusals)

    def planned(self, move: Move, config: MovesConfig) -> Planned:
        """A move with what is to be known before it begins.

        Raises:
            NotMovableError: what the tenant has cannot be moved.
        """
        estimate = self.estimate_of(move, config)
        if estimate.refusals:
            raise NotMovableError(estimate.refusals)
        loads = self.cargo_of(move, config).estimate()
        messages = sum(load.things for name, load in loads.items() if name in config.queues)
        times = expected(
            Carried(estimate.rows, estimate.bytes, messages),
            of_files=kind_of(self.database(move.source)) == "SQLite",
            copy_bytes_per_second=move.copy_bytes_per_second,
            shadow_seconds=move.shadow_seconds,
        )
        return Planned(move, config, estimate, loads, times)

    def database(self, cell: str) -> str:
        """The URL of a cell's database.

        Raises:
            MoveError: there is no such cell.
        """
        found = self.cells.databases.get(cell)
        if found is None:
            raise MoveError(f"no cell is named {cell!r}: this fleet has {', '.join(sorted(self.cells.databases))}")
        return found

    def plan(self, tenant: str, target: str, hold_seconds: float | None, **options: Any) -> Move:
        """A move as it would be.

        Args:
            tenant: who moves.
            target: where to.
            hold_seconds: see ``Move``; None: as long as these cells hold it.
            **options: other attributes of ``Move``, such as ``hours``.

        Raises:
            MoveError: it cannot be.
        """
        self.database(target)
        placed = self.routes.placed(tenant)
        if len(placed.cells) != 1:
            raise MoveError(
                f"{tenant} is served by {' + '.join(placed.cells) or 'no cell'}: a move is from one cell to another; "
                "assign it to one first"
            )
        if placed.state != "active":
            raise MoveError(f"{tenant} is {placed.state}: only an active tenant is moved")
        if placed.cells == (target,):
            raise MoveError(f"{tenant} is in {target} already")
        # What the directory knows beside that: jurisdictions, the target's room, other moves.
        self.client.post("/v1/moves/plan", {"tenant": tenant, "target": target})
        options.setdefault("id", secrets.token_hex(4))
        return Move(
            tenant_id=tenant,
            source=placed.cells[0],
            target=target,
            was_pinned=placed.is_assigned,
            hold_seconds=self.cells.hold_seconds if hold_seconds is None else hold_seconds,
            began=time.time(),
            **options,
        )
