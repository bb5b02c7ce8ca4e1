"""Wrong topologies, one of many kinds each; `make mutate` plays a thousand."""

from pathlib import Path

import pytest

from mutate import api, tables
from mutate.behind import attack_behind
from mutate.findings import ALARM_SECONDS
from mutate.operator import attack_as_operator

SEED = 1
STEP = 6
"""One of so many ways is tried at a time."""


def test_what_an_operator_gets_wrong_is_refused_with_the_field_to_blame(tmp_path: Path) -> None:
    found = attack_as_operator(tmp_path, range(len(api.WAYS)), SEED)
    assert found.failures == []
    assert found.by() == {"the control plane": len(api.WAYS)}


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(1, STEP))])
def test_a_table_that_must_not_serve_is_refused_with_an_alarm_and_the_one_before_goes_on(
    tmp_path: Path, first: int
) -> None:
    numbers = range(first, len(tables.WAYS), STEP)
    found = attack_behind(tmp_path, numbers, SEED)
    assert found.failures == []
    by = found.by()
    assert sum(by.values()) == len(numbers)
    assert set(by) <= {"agent", "proxy"}
    assert found.slowest_alarm_s <= ALARM_SECONDS
