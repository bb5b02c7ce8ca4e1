"""`cellplane plan`: text, JSON, pictures, and what it refuses."""

import json
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cellplane.cli.plan.prices import read_prices, shipped_prices
from cellplane.errors import ValidationError
from cellplane.model import UnknownTenant
from cellplane.placement import slot_of

Plan = Callable[..., Result]
WriteTable = Callable[..., Path]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

SIZE = ("size", "--peak-rps", 50_000, "--cell-rps", 5_000)
OVERLAP = ("overlap", "--cells", 50, "--shard-size", 4)
BLAST = ("blast-radius", "--cells", 16, "--shard-size", 2, "--tenants", 1_000, "--rps", 50_000, "--capacity", 5_000)
FIT = ("fit", "--tenants", 2_000, "--engineers", 9)
COST = ("cost", "--tenants", 2_000, "--peak-rps", 50_000)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def text(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_size_says_how_many_cells_and_what_binds(plan: Plan) -> None:
    said = text(plan(*SIZE, "--tenants", 20_000, "--cell-tenants", 5_000, "--largest-rps", 900))
    assert "15 cells; requests/s binds." in said
    assert "The largest tenant fits." in said
    assert "B2B SaaS" in said
    assert "an internal platform" in said


def test_size_compares_with_one_kind(plan: Plan) -> None:
    said = text(plan(*SIZE, "--tenants", 100, "--kind", "database"))
    assert "15 cells are fewer than is usual for a multi-tenant database: 16 to 128 a region." in said
    assert "B2B SaaS" not in said


def test_size_answers_in_json(plan: Plan) -> None:
    said = answer(plan(*SIZE, "--largest-rps", 6_000, "--kind", "b2b-saas", "--json"))
    assert said["cells"] == 15
    assert said["binding"] == "rps"
    assert said["largest_tenant_fits"] is False
    assert said["survives_one"] is True
    assert said["constraints"][0]["full_cells"] == 10
    assert [band["kind"] for band in said["bands"]] == ["b2b-saas"]
    assert "does not fit one cell" in said["findings"][0]


def test_overlap_answers_in_json(plan: Plan) -> None:
    said = answer(plan("overlap", "--cells", "50", "--shard-size", "4", "--json"))
    assert said["shards"] == 230_300
    assert [share["cells"] for share in said["shared"]] == [0, 1, 2, 3, 4]
    assert said["shared"][0]["probability"] == pytest.approx(0.7086, abs=1e-4)
    assert [one["failed"] for one in said["failures"]] == [1, 2, 3, 4]
    assert [one["heavy"] for one in said["covered"]] == [1, 4, 16]
    assert said["counted"] is None


def test_overlap_says_it_in_words(plan: Plan) -> None:
    said = text(plan("overlap", "--cells", 2, "--shard-size", 1, "--heavy", "0,2..3"))
    assert "2 cells, shards of 1: 2 different shards" in said
    assert "50 %" in said
    assert "0.875" in said
    assert "Counted" not in said


def test_overlap_counts_dealt_shards_beside_the_theory(plan: Plan) -> None:
    words = ("overlap", "--cells", 16, "--shard-size", 2, "--tenants", 1_000, "--seed", 3)
    said = text(plan(*words))
    assert "Counted: 1,000 tenants on" in said
    assert "two tenants share 2 cells at most" in said
    assert "Worst failure of 2:" in said
    counted = answer(plan(*words, "--json"))["counted"]
    assert counted["pairs"] == 499_500
    assert sum(shared["pairs"] for shared in counted["shared"]) == 499_500
    assert counted["shared"][2]["share"] == pytest.approx(1 / 120, rel=0.1)
    assert [len(worst["failed"]) for worst in counted["worst"]] == [1, 2]


def test_overlap_of_one_cell_has_no_pair_of_cells_to_fail(plan: Plan) -> None:
    counted = answer(plan("overlap", "--cells", 1, "--shard-size", 1, "--tenants", 3, "--heavy", "1", "--json"))
    assert len(counted["counted"]["worst"]) == 1
    assert [share["probability"] for share in counted["shared"]] == [0, 1]
    assert "-" in text(plan("overlap", "--cells", 1, "--shard-size", 1))


def test_overlap_counts_a_table(plan: Plan, write_table: WriteTable) -> None:
    said = answer(plan("overlap", "--table", write_table(), "--heavy", "1", "--json"))
    assert (said["cells"], said["shard_size"]) == (4, 2)
    assert said["counted"]["tenants"] == 4, "the fifth has no cell"
    assert said["counted"]["largest_shared"] == 2


def test_blast_radius_fails_each_cell_of_a_planned_fleet(plan: Plan) -> None:
    said = text(plan(*BLAST))
    assert "16 cells, 1,000 tenants on" in said
    assert "16 failures" in said
    assert "The 10 worst of 16; --json lists all." in said
    assert "The survivors hold 16 of 16 failures." in said
    found = answer(plan(*BLAST, "--json"))
    assert len(found["failures"]) == 16
    assert sum(failure["tenants_degraded"] for failure in found["failures"]) == 2_000
    assert found["worst"]["share_degraded"] == pytest.approx(0.125, abs=0.04)
    assert found["held"] == 16


def test_blast_radius_fails_named_cells_together(plan: Plan) -> None:
    said = text(plan(*BLAST, "--fail", "cell-1, cell-2"))
    assert "1 failure\n" in said
    (failure,) = answer(plan(*BLAST, "--fail", "cell-1,cell-2", "--json"))["failures"]
    assert failure["failed"] == ["cell-1", "cell-2"]
    assert failure["tenants_down"] > 0


def test_blast_radius_fails_all_pairs_and_names_the_overloaded(plan: Plan) -> None:
    words = (*BLAST[:-1], 3_400, "--all-pairs", "--split", "even")
    found = answer(plan(*words, "--json"))
    assert len(found["failures"]) == 120
    assert found["split"] == "even"
    over = next(failure for failure in found["failures"] if not failure["holds"])
    assert over["overloaded"][0].keys() == {"cell", "rps", "before_rps", "capacity_rps"}
    assert " more" in text(plan(*words))


def test_blast_radius_without_capacity_promises_nothing(plan: Plan) -> None:
    said = text(plan("blast-radius", "--cells", 4, "--tenants", 100))
    assert "unknown" in said
    assert "Give --capacity" in said
    assert answer(plan("blast-radius", "--cells", 4, "--tenants", 100, "--json"))["rps"] == 100


def test_blast_radius_says_what_is_overloaded_before_anything_failed(plan: Plan) -> None:
    assert "Over capacity while all are up: cell-1" in text(plan(*BLAST[:-1], 10))


def test_blast_radius_of_a_table_takes_its_tenants_and_leaves_out_cells_that_do_not_serve(
    plan: Plan, write_table: WriteTable
) -> None:
    table = write_table()
    found = answer(plan("blast-radius", "--table", table, "--capacity", 3, "--json"))
    assert (found["tenants"], found["tenants_unserved"]) == (4, 1)
    by_cell = {failure["failed"][0]: failure for failure in found["failures"]}
    assert by_cell["cell-2"]["tenants_down"] == 1, "cleo's other cell is in maintenance"
    assert by_cell["cell-4"]["tenants_down"] == by_cell["cell-4"]["tenants_degraded"] == 0
    assert found["rps"] == 4
    assert "1 more tenants are down already" in text(plan("blast-radius", "--table", table))


def test_blast_radius_of_a_table_weighs_capacity_and_spreads_load(plan: Plan, write_table: WriteTable) -> None:
    found = answer(plan("blast-radius", "--table", write_table(), "--capacity", 10, "--rps", 50, "--json"))
    # Five tenants with 10 requests/s each, one of them on no cell; cell-2 holds 20 by its weight.
    assert found["rps"] == 40
    assert "cell-2" not in found["overloaded_before"]
    assert found["overloaded_before"] == ["cell-1"]


def test_blast_radius_takes_loads_from_a_file_and_places_unlisted_tenants_by_their_slot(
    plan: Plan, write_table: WriteTable, tmp_path: Path
) -> None:
    loads = tmp_path / "loads.csv"
    loads.write_text("tenant,rps\nada,7\n\nfritz,2.5\n")
    found = answer(plan("blast-radius", "--table", write_table(), "--loads", loads, "--json"))
    assert found["tenants"] == 5
    assert found["rps"] == 9.5
    first = "cell-3" if slot_of(b"fritz") % 2 else "cell-1"
    by_cell = {failure["failed"][0]: failure for failure in found["failures"]}
    assert by_cell[first]["rps_moved"] == (9.5 if first == "cell-1" else 2.5)


def test_blast_radius_deals_slots_to_tenants_that_a_table_does_not_list(plan: Plan, write_table: WriteTable) -> None:
    found = answer(plan("blast-radius", "--table", write_table(tenants=0), "--tenants", 1_000, "--json"))
    assert found["tenants"] == 1_000
    by_cell = {failure["failed"][0]: failure for failure in found["failures"]}
    assert by_cell["cell-1"]["tenants_degraded"] == 1_000
    assert by_cell["cell-2"]["tenants_degraded"] == pytest.approx(500, abs=80)


def test_fit_gives_its_reasons_and_the_way(plan: Plan) -> None:
    said = text(plan(*FIT, "--noise-incidents", 3, "--noisiest-share", 0.2))
    assert said.startswith("Verdict: yes (+5 points")
    assert "2. Carve out the first cells (2 to 3 cells) <- begin here" in said
    assert "Blocks a yes." in text(plan(*FIT, "--no-stable-key"))


def test_fit_answers_in_json(plan: Plan) -> None:
    said = answer(plan(*FIT, "--noise-incidents", 3, "--manual-deploys", "--json"))
    assert (said["verdict"], said["begin_with"]) == ("not yet", 1)
    assert said["points"] == sum(reason["points"] for reason in said["reasons"])
    assert len(said["phases"]) == 3
    assert answer(plan("fit", "--tenants", 10, "--engineers", 4, "--json"))["begin_with"] is None


def test_cost_compares_fleets(plan: Plan) -> None:
    said = text(plan(*COST, "--internal-gb-month", 200_000, "--cells", "1,2..3"))
    assert "shared" in said
    assert "Prices noted 2026-11-21" in said
    assert "https://aws.amazon.com/" in said
    found = answer(plan(*COST, "--internal-gb-month", 200_000, "--cells", "1,2..3", "--json"))
    assert [fleet["cells"] for fleet in found["fleets"]] == [1, 2, 3]
    assert found["fleets"][0]["saved_usd"] == pytest.approx(200_000 * 2 / 3 * 2 * 0.01)
    assert found["cheapest_cells"] == 1
    assert found["prices"]["cross_zone_gb"]["usd"] == 0.01


def test_the_printed_price_file_can_be_edited_and_passed_back(plan: Plan, tmp_path: Path) -> None:
    mine = tmp_path / "prices.toml"
    mine.write_text(text(plan("cost", "--print-prices")).replace("usd = 0.192", "usd = 1").replace("11-21", "12-01", 1))
    found = answer(plan(*COST, "--prices", mine, "--json"))
    assert found["prices"]["instance_hour"]["usd"] == 1
    assert "2026-11-21 to 2026-12-01" in text(plan(*COST, "--prices", mine))


def test_every_shipped_price_has_a_source_and_a_date() -> None:
    for name, entry in tomllib.loads(shipped_prices()).items():
        assert entry["source"].startswith("https://"), name
        assert entry["as_of"].isoformat(), name


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[cross_zone_gb]", "[elsewhere]", r"'elsewhere' is no price; expected instance_hour"),
        ("[cross_zone_gb]", "[cross_zone_gb.deep]", r"cross_zone_gb.usd: expected 0 to"),
        ("usd = 0.159", "usd = -1", r"database_hour.usd: expected 0 to 1,000,000 dollars, found -1"),
        ("usd = 0.159", "usd = true", r"database_hour.usd: expected"),
        ("as_of = 2026-11-21", 'as_of = "today"', r"instance_hour.as_of: expected a date"),
        ('unit = "GB"', "unit = 5", r"cross_region_gb.unit: expected text, found 5"),
        ('unit = "GB"', 'unit = "GB"\nnote = "x"', r"cross_region_gb.note: no such field"),
        ("[instance_hour]", "instance_hour = 5\n[database_hours]", r"'database_hours' is no price"),
        ("usd = 0.192", "usd = ", r"cannot read"),
    ],
)
def test_a_broken_price_file_names_the_entry(before: str, after: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(shipped_prices().replace(before, after, 1))
    with pytest.raises(ValidationError, match=message):
        read_prices(path)


def test_a_price_that_is_missing_is_named(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("")
    result = plan(*COST, "--prices", path)
    assert result.exit_code == 2
    assert "--prices" in result.output
    assert "expected a table [instance_hour]" in result.output


@pytest.mark.parametrize("words", [SIZE, OVERLAP, BLAST, COST], ids=lambda words: str(words[0]))
def test_pictures_are_written_beside_the_answer(words: tuple[object, ...], plan: Plan, tmp_path: Path) -> None:
    svg, png = tmp_path / "picture.svg", tmp_path / "picture.png"
    assert answer(plan(*words, "--svg", svg, "--png", png, "--json"))
    assert ET.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert png.read_bytes().startswith(PNG_SIGNATURE)
    again = tmp_path / "again.svg"
    plan(*words, "--svg", again)
    assert again.read_bytes() == svg.read_bytes(), "equal questions give equal pictures"


@pytest.mark.parametrize(
    "words",
    [
        ("overlap", "--cells", 16, "--shard-size", 2, "--tenants", 500),
        ("blast-radius", "--cells", 40, "--tenants", 500, "--capacity", 13, "--all-pairs"),
        ("blast-radius", "--cells", 21, "--tenants", 500),
    ],
)
def test_pictures_of_counted_and_of_many_failures(words: tuple[object, ...], plan: Plan, tmp_path: Path) -> None:
    text(plan(*words, "--png", tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG_SIGNATURE)


def test_a_picture_without_matplotlib_says_what_to_install(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = plan(*OVERLAP, "--svg", tmp_path / "picture.svg")
    assert result.exit_code == 1
    assert "pictures need matplotlib: pip install 'cellplane[plan]'" in result.output
    assert plan(*OVERLAP).exit_code == 0, "text needs none"


def test_a_picture_that_cannot_be_written_says_so(plan: Plan, tmp_path: Path) -> None:
    result = plan(*OVERLAP, "--png", tmp_path / "missing" / "picture.png")
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_neither_numpy_nor_matplotlib_is_loaded_before_it_is_needed() -> None:
    code = "import sys, cellplane.cli.commands; sys.exit('numpy' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "option", "message"),
    [
        (("size", "--peak-rps", 0, "--cell-rps", 1), "--peak-rps", "above 0"),
        ((*SIZE, "--headroom", 0.5), "--headroom", "expected 1 to 10"),
        ((*SIZE, "--storage-gib", 5), "--cell-storage-gib", "expected what one cell holds"),
        (("overlap", "--cells", 4, "--shard-size", 5), "--shard-size", "expected 1 to 4, found 5"),
        (("overlap", "--cells", 0, "--shard-size", 1), "--cells", "expected 1 to 65,534"),
        (("overlap", "--cells", 4, "--shard-size", 2, "--failed", "5"), "--failed", "expected 0 to 4"),
        ((*OVERLAP, "--heavy", "one"), "--heavy", "expected whole numbers"),
        ((*OVERLAP, "--heavy", "9..1"), "--heavy", "names no number"),
        ((*OVERLAP, "--heavy", "1..9999"), "--heavy", "more than 1000"),
        ((*OVERLAP, "--tenants", 3), "--heavy", "expected 0 to the 3 tenants, found 4"),
        ((*BLAST, "--fail", "cell-99"), "--fail", "no cell is named 'cell-99'"),
        ((*BLAST, "--seed", -1), "--seed", "expected 0 to"),
        ((*BLAST[:-1], -5), "--capacity", "above 0"),
        ((*BLAST[:-3], -5), "--rps", "above 0"),
        (("blast-radius", "--cells", 400, "--tenants", 5, "--all-pairs"), "--all-pairs", "79,800 pairs"),
        ((*FIT, "--noisiest-share", 2), "--noisiest-share", "expected 0 to 1"),
        ((*COST, "--zones-per-cell", 4), "--zones-per-cell", "expected 1 to 3"),
        ((*COST, "--cells", "0"), "--cells", "expected 1 to 65,534"),
    ],
)
def test_bad_input_names_the_option(words: tuple[object, ...], option: str, message: str, plan: Plan) -> None:
    result = plan(*words)
    assert result.exit_code == 2
    assert option in result.output
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("overlap", "--cells", 4), "give --cells and --shard-size, or --table"),
        (("overlap", "--cells", 4, "--table", "TABLE"), "leave them out with --table"),
        (("blast-radius",), "give --cells for a planned fleet, or --table"),
        (("blast-radius", "--cells", 4, "--table", "TABLE"), "give --cells for a planned fleet, or --table"),
        (("blast-radius", "--cells", 4), "a planned fleet needs --tenants"),
        (("blast-radius", "--table", "TABLE", "--shard-size", 2), "--shard-size is for a planned fleet"),
        ((*BLAST, "--fail", "cell-1", "--all-pairs"), "not both"),
        ((*BLAST, "--loads", "TABLE"), "--loads goes with --table"),
        (("blast-radius", "--table", "TABLE", "--loads", "TABLE", "--rps", 5), "without --rps"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    words: tuple[object, ...], message: str, plan: Plan, write_table: WriteTable
) -> None:
    table = write_table()
    result = plan(*(table if word == "TABLE" else word for word in words))
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("ada\n", "line 1: expected tenant,rps"),
        ("ada,1,2\n", "line 1: expected tenant,rps"),
        ("ada,1\nbob,-1\n", "line 2: expected tenant,rps"),
        ("ada,inf\n", "line 1: expected tenant,rps"),
        ("ada lovelace,1\n", "line 1: expected tenant,rps"),
        (",1\n", "line 1: expected tenant,rps"),
        ("ada,1\nada,1\n", "line 2: 'ada' stands twice"),
    ],
)
def test_a_broken_file_of_loads_names_the_line(
    csv: str, message: str, plan: Plan, write_table: WriteTable, tmp_path: Path
) -> None:
    loads = tmp_path / "loads.csv"
    loads.write_text(csv)
    result = plan("blast-radius", "--table", write_table(), "--loads", loads)
    assert result.exit_code == 2
    assert "--loads" in result.output
    assert message in result.output


def test_loads_that_are_no_text_are_refused(plan: Plan, write_table: WriteTable) -> None:
    table = write_table()
    result = plan("blast-radius", "--table", table, "--loads", table)
    assert result.exit_code == 2
    assert "cannot read" in result.output


def test_a_fleet_that_refuses_unknown_tenants_has_none(plan: Plan, write_table: WriteTable, tmp_path: Path) -> None:
    table = write_table(unknown_tenant=UnknownTenant.REJECT)
    loads = tmp_path / "loads.csv"
    loads.write_text("fritz,1\n")
    result = plan("blast-radius", "--table", table, "--loads", loads)
    assert result.exit_code == 2
    assert "the table does not list 'fritz'" in result.output
    result = plan("blast-radius", "--table", table, "--tenants", 5)
    assert result.exit_code == 2
    assert "refuses tenants that its table does not list" in result.output
    assert plan("blast-radius", "--table", table).exit_code == 0


def test_a_table_without_tenants_asks_for_some(plan: Plan, write_table: WriteTable) -> None:
    result = plan("blast-radius", "--table", write_table(tenants=0))
    assert result.exit_code == 2
    assert "name some with --loads, or give their --tenants" in result.output


def test_a_table_whose_shards_leave_their_jurisdiction_fails(plan: Plan, write_table: WriteTable) -> None:
    result = plan("blast-radius", "--table", write_table(jurisdiction="eu"))
    assert result.exit_code == 1
    assert "a shard never leaves its jurisdiction" in result.output


def test_a_file_that_is_no_table_fails(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "table.cpt"
    path.write_bytes(b"no table")
    result = plan("blast-radius", "--table", path)
    assert result.exit_code == 1
    assert "error: truncated" in result.output
