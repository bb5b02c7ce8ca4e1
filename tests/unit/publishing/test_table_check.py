"""The routers' own validator, asked before a table is published."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from cellplane.errors import TableCheckError
from cellplane.publishing.metrics import PublishingMetrics
from cellplane.publishing.table_check import PROGRAM, TableCheck, is_installed
from cellplane.routing import RoutingTable
from unit.publishing.tables import base_of, overlaid

Making = Callable[..., tuple[TableCheck, CollectorRegistry]]


@pytest.fixture
def making(tmp_path: Path) -> Iterator[Making]:
    made: list[TableCheck] = []

    def make(program: Path = PROGRAM, timeout_seconds: float = 10.0) -> tuple[TableCheck, CollectorRegistry]:
        registry = CollectorRegistry()
        folder = tmp_path / "checking"
        check = TableCheck(folder, PublishingMetrics(registry), timeout_seconds=timeout_seconds, program=program)
        made.append(check)
        return check, registry

    yield make
    for check in made:
        check.close()


class Damaged:
    """A table whose bytes changed after it was read: what only the other reader can notice."""

    def __init__(self, table: RoutingTable, place: int, *, overlay: bool = False) -> None:
        self.epoch, self.sha256 = table.epoch, f"{place:064x}"
        self.base, self.overlay = _Layer(table.base.data), None
        if table.overlay is not None:
            self.overlay = _Layer(table.overlay.data)
        layer = self.overlay if overlay else self.base
        assert layer is not None
        data = bytearray(layer.data)
        data[place] ^= 1
        layer.data = memoryview(data)


class _Layer:
    def __init__(self, data: memoryview) -> None:
        self.data = data


def damaged(table: RoutingTable, place: int, *, overlay: bool = False) -> RoutingTable:
    return cast("RoutingTable", Damaged(table, place, overlay=overlay))


def failed(registry: CollectorRegistry) -> Any:
    return registry.get_sample_value("cellplane_table_checks_failed_total")


def program(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_program_is_built_and_a_sound_table_passes(making: Making, tmp_path: Path) -> None:
    check, registry = making()
    assert is_installed()
    assert registry.get_sample_value("cellplane_table_check_installed") == 1
    for table in (base_of(3), overlaid(3, 5), overlaid(3, 6), base_of(7), base_of(8)):
        check.require(table)
    assert failed(registry) == 0
    assert len(list((tmp_path / "checking").iterdir())) == 1, "the base that the next overlay stands on"
    check.close()
    with pytest.raises(TableCheckError, match="stops"):
        check.require(base_of(9))
    assert list((tmp_path / "checking").iterdir()) == []


def test_what_routers_refuse_is_refused_with_their_reason_and_the_next_is_checked(making: Making) -> None:
    check, registry = making()
    with pytest.raises(TableCheckError, match=r"epoch 3: refused .*sha256: expected"):
        check.require(damaged(base_of(3), 400))
    check.require(overlaid(3, 5))
    with pytest.raises(TableCheckError, match=r"checked-overlay-5\.cpt: sha256"):
        check.require(damaged(overlaid(3, 5), 300, overlay=True))
    assert failed(registry) == 2
    check.require(overlaid(3, 5))


def test_a_check_that_dies_hangs_or_talks_nonsense_is_a_refusal_and_never_more(making: Making, tmp_path: Path) -> None:
    for text, seconds, reason in (
        ("read line; kill -9 $$", 30.0, "ended with -9"),
        ("exec sleep 60", 0.3, "longer than 0.3 s"),
        ("read line; echo ok 4", 30.0, "epoch 3: ok 4"),
        ("exit 1", 30.0, "epoch 3"),
    ):
        check, registry = making(program(tmp_path, text), timeout_seconds=seconds)
        for _ in range(2):
            with pytest.raises(TableCheckError, match=reason):
                check.require(base_of(3))
        assert failed(registry) == 2
        check.close()


def test_where_it_is_not_installed_tables_pass_and_the_metric_says_so(making: Making, tmp_path: Path) -> None:
    check, registry = making(tmp_path / "none")
    check.require(base_of(3))
    assert registry.get_sample_value("cellplane_table_check_installed") == 0


def test_one_that_is_killed_between_two_tables_is_started_again(making: Making) -> None:
    check, registry = making()
    check.require(base_of(3))
    assert check._process is not None
    check._process.kill()
    check._process.wait()
    check.require(overlaid(3, 5))
    assert failed(registry) == 0


def test_a_check_that_is_closed_starts_no_process_any_more(making: Making, tmp_path: Path) -> None:
    check, registry = making()
    check.close()
    with pytest.raises(TableCheckError, match="the control plane stops"):
        check.require(base_of(1))
    assert not (tmp_path / "checking").exists()
    assert failed(registry) == 0
