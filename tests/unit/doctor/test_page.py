"""docs/doctor.md lists every check as the code has it."""

from pathlib import Path

from cellplane.doctor.checks import CHECKS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"


def test_the_page_lists_every_check() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `CPD")]
    assert rows == [f"| `{each.code}` | {each.title} | {each.meaning} | {each.remedy} |" for each in CHECKS]


def test_codes_come_in_order_and_are_never_used_twice() -> None:
    codes = [each.code for each in CHECKS]
    assert codes == sorted(set(codes))
