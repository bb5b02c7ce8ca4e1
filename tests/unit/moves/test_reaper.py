"""What moves left in real databases is found and removed, and what a living move needs is left alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.doctor.gather.folders import State
from cellplane.doctor.gather.stores import store_of
from cellplane.doctor.settings import DoctorSettings
from cellplane.moves.book import MoveBook
from cellplane.moves.errors import MoveError
from cellplane.moves.move import Move, Phase
from cellplane.moves.reaper import Reaper
from cellplane.moves.remains import Remnant, move_of
from cellplane.moves.settings import MoverSettings
from cellplane.moves.stores import remnants_in
from cellplane.provision.local.wishes import request_row
from cellplane.provision.values import CellRequest
from e2e_app.servers import Postgres
from unit.moves.ends import SOURCE, TARGET, Ends, PostgresEnds, SqliteEnds
from unit.moves.test_contract import followed, quiet

CELLS = ("cell-1", "cell-2")


@pytest.fixture(params=["postgres", "sqlite"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    if request.param == "postgres":
        yield PostgresEnds(request.getfixturevalue("cells"))
    else:
        yield SqliteEnds(tmp_path)


def reaper(ends: Ends, folder: Path) -> Reaper:
    return Reaper(dict(zip(CELLS, ends.urls, strict=True)), MoveBook(folder))


def on_record(folder: Path, move_id: str, tenant: str, phase: Phase) -> None:
    MoveBook(folder).add(Move(move_id, tenant, *CELLS, was_pinned=False, hold_seconds=10.0, phase=phase))


def moving(ends: Ends, tenant: str, move_id: str) -> Any:
    move = ends.mover(tenant, move_id)
    move.prepare()
    move.copy(quiet)
    move.follow()
    return move


def test_what_no_move_needs_is_removed_and_what_one_needs_is_left(ends: Ends, tmp_path: Path) -> None:
    ends.fill(50)
    before = [ends.rows_of(end, "acme") for end in (SOURCE, TARGET)]
    lost, living = followed(ends), moving(ends, "globex", "m2")
    on_record(tmp_path / "moves", "m2", "globex", Phase.FOLLOWING)
    mine = reaper(ends, tmp_path / "moves")
    found = mine.look()
    assert found.unreached == {}
    assert {each.move_id for each in found.remnants} == {"m1"}
    kinds = {"postgres": {"subscription", "slot", "publication", "guard"}, "sqlite": {"guard"}}[ends.kind]
    assert {(each.cell, each.kind) for each in found.remnants} == {(cell, kind) for cell in CELLS for kind in kinds}
    removed: list[Remnant] = []
    assert mine.reap(found, removed.append) == {}
    assert removed == list(found.remnants)
    assert lost.facts().leftovers == ()
    assert (lost.facts().source_closed, lost.facts().target_closed) == (None, None)
    assert mine.look().remnants == ()
    assert ends.rows_of(SOURCE, "acme") == before[SOURCE]
    assert ends.rows_of(TARGET, "acme") == before[SOURCE], "no row is deleted"
    with ends.executing(SOURCE) as execute:
        execute("UPDATE orders SET note = 'both write on'")
    living.fence(5)
    assert living.finish(10).is_same
    assert ends.rows_of(TARGET, "globex") == ends.rows_of(SOURCE, "globex")
    living.part()
    living.forget()
    assert [ends.left_at(SOURCE), ends.left_at(TARGET)] == [[], []]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in {Phase.PLANNED, Phase.REFUSED}])
def test_a_move_is_left_alone_until_it_has_ended(ends: Ends, tmp_path: Path, phase: Phase) -> None:
    ends.fill(1)
    ends.mover().prepare()
    on_record(tmp_path / "moves", "m1", "acme", phase)
    found = reaper(ends, tmp_path / "moves").look().remnants
    assert bool(found) == phase.is_end
    assert len(remnants_in("cell-1", ends.urls[SOURCE], MoverSettings())) == 1


def test_where_a_move_cannot_be_read_nothing_is_removed(ends: Ends, tmp_path: Path) -> None:
    ends.fill(1)
    ends.mover().prepare()
    on_record(tmp_path / "moves", "m3", "initech", Phase.COPIED)
    (tmp_path / "moves" / "m3" / "move.json").write_text("{")
    with pytest.raises(MoveError, match="is damaged"):
        reaper(ends, tmp_path / "moves").look()


def test_a_cell_that_cannot_be_asked_keeps_no_other_from_it(ends: Ends, tmp_path: Path) -> None:
    ends.fill(1)
    ends.mover().prepare()
    gone = {"postgres": "postgresql://u:secret@127.0.0.1:1/x", "sqlite": f"sqlite:///{tmp_path}/gone"}[ends.kind]
    found = Reaper({"cell-1": ends.urls[SOURCE], "cell-9": gone}, MoveBook(tmp_path / "moves")).look()
    assert [each.cell for each in found.remnants] == ["cell-1"]
    assert set(found.unreached) == {"cell-9"}
    assert "secret" not in found.unreached["cell-9"]


def test_names_of_others_are_none_of_a_move() -> None:
    assert [move_of(name) for name in ("cellplane_ab12", "cellplane_ab12_back", "cellplane_ab12_recopy")] == [
        "ab12"
    ] * 3
    others = (
        "audit",
        "cellplane",
        "cellplane_",
        "cellplane_AB",
        "cellplane_ab12_other",
        "my_cellplane_ab12",
        "pg_16391",
    )
    assert [move_of(name) for name in others] == [None] * len(others)


@pytest.fixture
def fleet(servers: tuple[Postgres, Postgres], tmp_path: Path) -> Iterator[Path]:
    """The folder of a fleet of two cells, in the first of which a move that nobody knows left its things."""
    root = tmp_path / "fleet"
    root.mkdir()
    ports = {
        f"cell-{n}.postgres": int(server.url.rpartition(":")[2].partition("/")[0])
        for n, server in enumerate(servers, 1)
    } | {f"{cell}.nats": 1 for cell in CELLS}
    members = {cell: {"request": request_row(CellRequest(cell)), "running": True} for cell in CELLS}
    (root / "endpoints.json").write_text(
        json.dumps({"control": "http://127.0.0.1:1", "cells": 2, "members": members, "ports": ports})
    )
    with psycopg.connect(servers[0].url, autocommit=True) as connection:
        for slot in ("cellplane_dead", "audit"):
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        connection.execute("CREATE PUBLICATION cellplane_dead_back")
        connection.execute("SELECT pg_replication_origin_create('cellplane_dead_recopy')")
        yield root
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        connection.execute("DROP PUBLICATION IF EXISTS cellplane_dead_back")
        connection.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin")


def test_what_is_of_another_database_of_the_server_is_not_looked_at(fleet: Path, cells: tuple[str, str]) -> None:
    with psycopg.connect(cells[SOURCE], autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('cellplane_others', 'pgoutput')")
        assert "cellplane_others" in [each.name for each in remnants_in("x", cells[SOURCE], MoverSettings())]
        here = State.find(fleet).databases()["cell-1"]
        assert {each.move_id for each in remnants_in("cell-1", here, MoverSettings())} == {"dead"}
        connection.execute("SELECT pg_drop_replication_slot('cellplane_others')")


def reaping(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["move", "reap", "--state", str(root), *words])


def test_the_command_lists_and_removes(fleet: Path, servers: tuple[Postgres, Postgres]) -> None:
    shown = reaping(fleet, "--dry-run")
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "cell-1: slot cellplane_dead",
        "cell-1: publication cellplane_dead_back of move dead",
        "cell-1: origin cellplane_dead_recopy of move dead",
    ]
    done = reaping(fleet, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert [each["name"] for each in said["removed"]] == [
        "cellplane_dead",
        "cellplane_dead_back",
        "cellplane_dead_recopy",
    ]
    assert said["unreached"] == {}
    with psycopg.connect(servers[0].url) as connection:
        left = connection.execute(
            "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication UNION ALL "
            "SELECT roname FROM pg_replication_origin"
        ).fetchall()
    assert left == [("audit",)], "it is nobody's of ours"
    assert reaping(fleet).output == "Nothing is left of moves that are not under way.\n"


def test_the_doctor_knows_the_slots_of_a_fleet_and_whose_they_are(fleet: Path) -> None:
    state = State.find(fleet)
    assert list(state.databases()) == list(CELLS)
    store = store_of("cell-1", state.databases()["cell-1"], state.moves, DoctorSettings())
    assert store.failure == ""
    assert sorted(slot.name for slot in store.slots) == ["audit", "cellplane_dead"]
    assert all(slot.kept_bytes is not None and not slot.is_read for slot in store.slots)
    assert [each.kind for each in store.remnants] == ["slot", "publication", "origin"]
    on_record(state.moves, "dead", "acme", Phase.FENCED)
    assert store_of("cell-1", state.databases()["cell-1"], state.moves, DoctorSettings()).remnants == ()
    gone = store_of("cell-9", "postgresql://postgres@127.0.0.1:1/postgres", state.moves, DoctorSettings())
    assert "the database of cell-9" in gone.failure
