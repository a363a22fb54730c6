"""Result files: each input cell unchanged and in its place, results after them, nothing a spreadsheet would run."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.interface import Row
from schemas.lookups import RowResult
from schemas.uploads import Detected
from services.assembler.status.api.downloads import content_disposition
from services.assembler.status.api.result_files import (
    RESULT_COLUMNS,
    CsvWriter,
    excel_safe,
    jsonl_chunk,
    layout_of,
    result_name,
)
from services.assembler.status.api.workbooks import Workbook

RESULT = RowResult(
    outcome="ok",
    verdict="do_not_call",
    line_type="mobile",
    carrier="Northwind Mobile",
    country="US",
    reachable="yes",
    do_not_call="yes",
    provider="simulator",
    looked_up_at=datetime(2026, 1, 5, 12, 0, 0, 500_000, tzinfo=UTC),
    attempts=1,
)
RESULT_CELLS = [
    "+14155550100",
    "answered",
    "do_not_call",
    "mobile",
    "Northwind Mobile",
    "US",
    "yes",
    "yes",
    "2026-01-05T12:00:00Z",
    "",
]


def row(*cells: str, number: int = 1, result: RowResult | None = RESULT) -> Row:
    return Row(
        row=number,
        line=number + 1,
        state="waiting" if result is None else "answered",
        phone="+14155550100",
        cells=cells,
        result=result,
        error=None,
    )


def detected(*columns: str, header: bool = True) -> Detected:
    return Detected(format="csv", delimiter=";", header=header, columns=columns)


def read(data: bytes, delimiter: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def written(of: Detected, *rows: Row, safe: bool = False) -> list[list[str]]:
    layout = layout_of(of, width=max(len(each.cells) for each in rows))
    writer = CsvWriter(layout, delimiter=of.delimiter or ",", safe=safe)
    return read(writer.head() + writer.chunk(rows), of.delimiter or ",")


def test_results_follow_the_inputs_columns() -> None:
    lines = written(detected("Name", "Phone"), row("Ada", "(415) 555-0100"))
    assert lines[0] == ["Name", "Phone", *RESULT_COLUMNS]
    assert lines[1] == ["Ada", "(415) 555-0100", *RESULT_CELLS]


def test_a_file_without_a_header_gets_none() -> None:
    lines = written(detected(header=False), row("Ada", "(415) 555-0100"))
    assert lines == [["Ada", "(415) 555-0100", *RESULT_CELLS]]


def test_result_columns_of_an_earlier_run_are_refreshed_in_place() -> None:
    before = detected("Phone", *RESULT_COLUMNS, "Mine")
    old = ["(415) 555-0100", *["old"] * len(RESULT_COLUMNS), "keep"]
    lines = written(before, row(*old))
    assert lines[0] == ["Phone", *RESULT_COLUMNS, "Mine"]
    assert lines[1] == ["(415) 555-0100", *RESULT_CELLS, "keep"]


def test_result_columns_that_are_there_in_part_are_completed_behind_the_others() -> None:
    lines = written(detected("scrub_verdict", "Phone"), row("old", "(415) 555-0100"))
    rest = [name for name in RESULT_COLUMNS if name != "scrub_verdict"]
    assert lines[0] == ["scrub_verdict", "Phone", *rest]
    assert lines[1][0] == "do_not_call"


def test_short_rows_are_filled_up_so_that_results_stand_in_their_columns() -> None:
    lines = written(detected("A", "B", "C"), row("x"))
    assert lines[1] == ["x", "", "", *RESULT_CELLS]


def test_cells_beyond_the_header_stay_and_results_stand_behind_them() -> None:
    lines = written(detected("A"), row("x", "y", "z"), row("x"))
    assert lines == [["A", "", "", *RESULT_COLUMNS], ["x", "y", "z", *RESULT_CELLS], ["x", "", "", *RESULT_CELLS]]


def test_a_row_that_waits_says_so_and_nothing_else() -> None:
    lines = written(detected("Phone"), row("(415) 555-0100", result=None))
    assert lines[1] == ["(415) 555-0100", "+14155550100", "waiting", *[""] * 8]


CELLS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=2, max_size=2)


@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(",;\t|~^:"))
def test_every_cell_comes_out_as_it_went_in(table: list[list[str]], delimiter: str) -> None:
    of = Detected(format="csv", delimiter=delimiter, header=True, columns=("A", "B"))
    lines = written(of, *(row(*cells, number=n) for n, cells in enumerate(table, start=1)))
    assert [line[:2] for line in lines[1:]] == table


@pytest.mark.parametrize("cell", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_formulas_are_made_harmless(cell: str) -> None:
    assert excel_safe(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["+14155550100", "-12", "-12.5", "+3", "Ada", "", "a=b", "4155550100"])
def test_numbers_and_phones_are_left_alone(cell: str) -> None:
    assert excel_safe(cell) == cell


def test_escaping_happens_only_when_asked_for() -> None:
    of = detected("Note")
    assert written(of, row("=1+1"))[1][0] == "=1+1"
    assert written(of, row("=1+1"), safe=True)[1][0] == "'=1+1"


def test_a_json_line_is_a_row_of_the_rows_list() -> None:
    line = jsonl_chunk([row("Ada")])
    assert line.endswith(b"\n")
    assert Row.model_validate_json(line) == row("Ada")


@pytest.mark.parametrize(
    ("name", "partial", "expected"),
    [
        ("contacts.csv", False, "contacts.scrubbed.csv"),
        ("contacts.csv", True, "contacts.partial.csv"),
        ("a.b.XLSX", False, "a.b.scrubbed.csv"),
        ("contacts.csv.gz", False, "contacts.scrubbed.csv"),
        ("no suffix", False, "no suffix.scrubbed.csv"),
        (".csv", False, ".csv.scrubbed.csv"),
        ("", False, "result.scrubbed.csv"),
    ],
)
def test_the_name_tells_what_it_is(name: str, partial: bool, expected: str) -> None:
    assert result_name(name, extension="csv", partial=partial) == expected


def test_any_name_survives_the_header() -> None:
    assert content_disposition("contacts.csv") == 'attachment; filename="contacts.csv"'
    umlaut = content_disposition("Kühe 100%.csv")
    assert umlaut.isascii()
    assert "filename*=UTF-8''K%C3%BChe%20100%25.csv" in umlaut


@given(st.text())
def test_no_name_breaks_out_of_the_header(name: str) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


def sheet_values(path: Path, sheet: int = 0) -> list[list[Any]]:
    book = openpyxl.load_workbook(path)
    return [[cell.value for cell in line] for line in book.worksheets[sheet].iter_rows()]


def make_workbook(path: Path, of: Detected, *rows: Row, sheet_rows: int = 100) -> Path:
    book = Workbook(path, layout_of(of, width=max(len(each.cells) for each in rows)), sheet_rows=sheet_rows)
    book.add(rows)
    book.close()
    return path


def test_a_workbook_holds_text_only(tmp_path: Path) -> None:
    cells = ("=1+1", "007", "https://example.org", "<r>x</r>", "1e5")
    path = make_workbook(tmp_path / "x.xlsx", detected("A", "B", "C", "D", "E"), row(*cells))
    book = openpyxl.load_workbook(path)
    found = list(book.worksheets[0].iter_rows())[1][:5]
    assert all(cell.data_type in ("s", "inlineStr") for cell in found)
    assert [str(cell.value).strip() for cell in found] == list(cells)


def test_what_exceeds_a_sheet_goes_on_in_the_next_with_its_header(tmp_path: Path) -> None:
    rows = [row(f"r{n}", number=n) for n in range(1, 6)]
    path = make_workbook(tmp_path / "x.xlsx", detected("A"), *rows, sheet_rows=3)
    firsts = [[line[0] for line in sheet_values(path, sheet)] for sheet in range(3)]
    assert firsts == [["A", "r1", "r2"], ["A", "r3", "r4"], ["A", "r5"]]
