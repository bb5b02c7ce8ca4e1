"""Whether a tenant may be in cells, and that one module says so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.model import Cell
from cellplane.model.residency import Act, Violation, foreign_laws, law_codes, laws, one_of_each_law, violations
from cellplane.placement.laws import crossing

SOURCE = Path(__file__).resolve().parents[2] / "src" / "cellplane"

ABOUT_SOMETHING_ELSE = {
    ("model/rule.py", "matches"): "a rule's condition: which tenants it is about, not where they may be",
    ("manifest/lint/rules.py", "_missed"): "to which laws rules lead: advice, beside what the model refuses",
    ("directory/placing.py", "_check_slots"): "finds one of a million tenants by an index",
    ("directory/outline.py", "changed_jurisdictions"): "whether a cell's law changed",
    ("directory/placing.py", "_is_alike"): "whether a pool's laws changed",
    ("control/api/cells.py", "list_cells"): "which cells somebody asks to see",
    ("planning/residency.py", "rows"): "which tenants somebody asks to see",
    ("publishing/keys.py", "signs_for"): "whose key it is",
    ("residency_seal.py", "_silent"): "whose keys signed",
    ("provision/siblings.py", "like"): "what most cells of a pool are, for one more",
}

_LAWS = {"laws", "law_codes", "jurisdictions"}
_SETS = (ast.Sub, ast.BitAnd, ast.BitOr, ast.BitXor)


def _names_a_law(node: ast.AST) -> bool:
    return any(
        (isinstance(each, ast.Attribute) and each.attr in {"jurisdiction", "cell_law"})
        or (isinstance(each, ast.Name) and each.id in {"jurisdiction", "law"})
        or (isinstance(each, ast.Call) and getattr(each.func, "id", getattr(each.func, "attr", "")) in _LAWS)
        for each in ast.walk(node)
    )


def comparing(tree: ast.AST) -> Iterator[str]:
    """The innermost function of each place that compares laws, or collects them to do so."""
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in ast.walk(tree):
        is_one = (
            (isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot))
            or (isinstance(node, ast.BinOp) and isinstance(node.op, _SETS))
            or isinstance(node, ast.SetComp | ast.Set)
        )
        if is_one and _names_a_law(node.elt if isinstance(node, ast.SetComp) else node):
            around = [each for each in functions if any(inner is node for inner in ast.walk(each))]
            yield around[-1].name if around else "<module>"


def cell(name: str, law: str) -> Cell:
    return Cell(name, "h", 1, jurisdiction=law)


EU, ALSO_EU, US = cell("cell-1", "eu"), cell("cell-2", "eu"), cell("cell-3", "us")
cells_of_laws = st.lists(st.sampled_from(["eu", "us", "ch"]), min_size=1, max_size=6).map(
    lambda names: [cell(f"cell-{number}", law) for number, law in enumerate(names)]
)


def test_jurisdictions_are_compared_in_one_module() -> None:
    found = {
        (str(path.relative_to(SOURCE)), function)
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "model" / "residency.py"
        for function in comparing(ast.parse(path.read_text()))
    }
    assert found == set(ABOUT_SOMETHING_ELSE), "ask cellplane.model.residency.violations instead"


@pytest.mark.parametrize(
    "line",
    [
        "cell.jurisdiction == tenant.jurisdiction",
        "tenant.jurisdiction in {'', cell.jurisdiction}",
        "{cell.jurisdiction for cell in cells}",
        "set(found) - {tenant.jurisdiction}",
        "outline.jurisdictions(pool) <= allowed",
        "len(laws(cells)) > 1",
        "law != other",
    ],
)
def test_a_check_elsewhere_is_found(line: str) -> None:
    assert list(comparing(ast.parse(f"def check():\n    return {line}"))) != []


def test_copying_a_law_is_no_check() -> None:
    assert list(comparing(ast.parse("row = {'jurisdiction': cell.jurisdiction}"))) == []


def test_a_tenant_is_in_cells_under_its_law_only() -> None:
    assert violations(Act.ASSIGNMENT, "acme", "eu", (EU, ALSO_EU)) == ()
    found = violations(Act.MOVE, "acme", "eu", (US, EU))
    assert found == (Violation(Act.MOVE, "acme", "eu", "cell-3", "us"),)
    assert str(found[0]) == "move: acme is under eu, cell 'cell-3' under us"


def test_a_tenant_without_a_law_is_not_under_two_at_once() -> None:
    assert violations(Act.FAILOVER, "acme", "", (US,)) == ()
    found = violations(Act.FAILOVER, "acme", "", (US, EU, ALSO_EU))
    assert [(each.cell, each.law, each.cell_law) for each in found] == [("cell-1", "us", "eu"), ("cell-2", "us", "eu")]
    assert foreign_laws(found) == ["eu"]


def test_places_of_their_own_may_be_under_different_laws_for_a_tenant_without_one() -> None:
    assert violations(Act.PLACEMENT, "acme", "", (EU, US), is_shard=False) == ()
    found = violations(Act.PLACEMENT, "acme", "eu", (US, EU), is_shard=False)
    assert [each.cell for each in found] == ["cell-3"]


@given(cells_of_laws, st.sampled_from(["", "eu", "us"]), st.booleans())
def test_what_is_allowed_is_under_one_law_and_the_tenants_own(cells: list[Cell], law: str, is_shard: bool) -> None:
    found = violations(Act.PLACEMENT, "acme", law, cells, is_shard=is_shard)
    if not found and (law or is_shard):
        assert laws(cells) in ([law], [cells[0].jurisdiction])
    assert {each.cell for each in found} <= {each.id for each in cells}
    assert bool(violations(Act.PLACEMENT, "acme", law, one_of_each_law(cells), is_shard=is_shard)) == bool(found)


@given(cells_of_laws, st.data())
def test_arrays_say_the_same(cells: list[Cell], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.permutations(range(len(cells))), min_size=1, max_size=8))
    used = data.draw(st.lists(st.integers(1, len(cells)), min_size=len(rows), max_size=len(rows)))
    shards = np.array([[*row[:size], *[-1] * (len(row) - size)] for row, size in zip(rows, used, strict=True)])
    wrong = [
        place
        for place, (row, size) in enumerate(zip(rows, used, strict=True))
        if violations(Act.PLACEMENT, "acme", "", [cells[index] for index in row[:size]])
    ]
    assert crossing(cells, shards, -1).tolist() == wrong
    codes = law_codes(cells)
    assert all(
        (codes[0] == code) == (not violations(Act.MOVE, "a", "", (cells[0], other)))
        for other, code in zip(cells, codes, strict=True)
    )
