"""Real files and torture files give the figures that two other readers agreed on. Needs SCRUB_SAMPLES."""

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from services.ingest.reading import FileLayout, FileRefused, Limits, ReadOptions
from services.ingest.reading.containers import open_bytes
from services.ingest.reading.encodings import encoding_of
from services.ingest.reading.formats import detect, read_rows
from services.ingest.reading.formats.delimited import records
from services.ingest.reading.formats.dialects import dialect_of
from services.ingest.reading.formats.totals import FileTotals, totals_of
from services.ingest.reading.formats.workbook.parent import workbook_rows
from services.ingest.reading.survey import survey
from services.ingest.reading.text import decoded, text_chunks
from tests.fixtures.samples import samples_folder

pytestmark = pytest.mark.samples

LIMITS = Limits()
Expected = dict[str, Any]


def expected_of(name: str) -> dict[str, Expected]:
    folder = samples_folder()
    if folder is None:
        return {"not asked for": {}}
    answers: dict[str, Expected] = json.loads((folder / name).read_text(encoding="utf-8"))
    return answers


SAMPLES = expected_of("expected.json")
TORTURE = expected_of("torture_expected.json")


def columns(detected: FileLayout, positions: tuple[int, ...]) -> list[str | int]:
    return [detected.columns[position] if detected.header else position for position in positions]


def expected_figures(expected: Expected) -> tuple[int, int, int, int]:
    return (
        expected["data_rows"],
        expected["nonempty_phone_cells"],
        expected["valid_rows"],
        expected["distinct_valid_phones"],
    )


def found_figures(totals: FileTotals) -> tuple[int, int, int, int]:
    return totals.rows, totals.filled, totals.whole, totals.distinct_whole


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in SAMPLES.items() if e.get("phone_columns")])
def test_a_file_is_what_it_is_and_holds_what_it_holds(samples: Path, name: str, expected: Expected) -> None:
    detected = detect(samples / name, ReadOptions(region=expected["region"]), LIMITS)

    assert detected.encoding == expected["encoding"]
    assert detected.delimiter == expected["delimiter"]
    assert detected.header is expected["header"]
    assert detected.skipped_lines == expected["extra"].get("skip_rows", 0)
    assert detected.sheet == expected["extra"].get("sheet")
    best, *others = columns(detected, detected.phone_columns + detected.other_phone_columns)
    assert best == expected["phone_columns"][0]
    assert sorted(map(str, others)) == sorted(map(str, expected["phone_columns"][1:]))

    assert found_figures(totals_of(samples / name, detected, LIMITS)) == expected_figures(expected)


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in SAMPLES.items() if e.get("phone_columns") == []])
def test_a_file_without_phones_is_refused(samples: Path, name: str, expected: Expected) -> None:
    with pytest.raises(FileRefused) as refused:
        detect(samples / name, ReadOptions(region=expected["region"]), LIMITS)
    assert refused.value.code == "no-phone-column"

    chosen = detect(samples / name, ReadOptions(region=expected["region"], phone_columns=(0,)), LIMITS)
    assert totals_of(samples / name, chosen, LIMITS).rows == expected["data_rows"]


JOINED = [(name, expected) for name, expected in SAMPLES.items() if expected.get("extra", {}).get("joined")]


@pytest.mark.parametrize(("name", "expected"), JOINED or [("not asked for", {})])
def test_a_separate_area_code_is_offered_and_makes_the_numbers_whole(
    samples: Path, name: str, expected: Expected
) -> None:
    joined = expected["extra"]["joined"]
    area, number = joined["columns"]
    offered = detect(samples / name, ReadOptions(region=expected["region"]), LIMITS)
    assert columns(offered, offered.area_column_candidates) == [area]

    chosen = detect(samples / name, ReadOptions(region=expected["region"], area_column=area), LIMITS)
    assert columns(chosen, chosen.phone_columns) == [number]
    assert (
        found_figures(totals_of(samples / name, chosen, LIMITS))[1:]
        == expected_figures({"data_rows": None, **joined})[1:]
    )


OTHER_COLUMNS = [
    (name, column, {**totals, "data_rows": expected["data_rows"]}, expected["region"])
    for name, expected in SAMPLES.items()
    for column, totals in expected.get("extra", {}).get("other_phone_columns", {}).items()
]


@pytest.mark.parametrize(("name", "column", "expected", "region"), OTHER_COLUMNS or [("not asked for", "", {}, "")])
def test_another_column_can_be_chosen(samples: Path, name: str, column: str, expected: Expected, region: str) -> None:
    detected = detect(samples / name, ReadOptions(region=region, phone_columns=(column,)), LIMITS)
    assert found_figures(totals_of(samples / name, detected, LIMITS)) == expected_figures(expected)


SHEETS = [
    (name, sheet, totals, expected["region"])
    for name, expected in SAMPLES.items()
    for sheet, totals in expected.get("extra", {}).get("per_sheet", {}).items()
]


@pytest.mark.parametrize(("name", "sheet", "expected", "region"), SHEETS or [("not asked for", "", {}, "")])
def test_another_sheet_can_be_chosen(samples: Path, name: str, sheet: str, expected: Expected, region: str) -> None:
    detected = detect(samples / name, ReadOptions(region=region, sheet=sheet), LIMITS)
    assert columns(detected, detected.phone_columns) == expected["phone_columns"]
    assert found_figures(totals_of(samples / name, detected, LIMITS)) == expected_figures(expected)


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in SAMPLES.items() if e.get("encoding") != "xlsx"])
def test_every_cell_comes_as_another_reader_decodes_it(samples: Path, name: str, expected: Expected) -> None:
    detected = detect(samples / name, ReadOptions(region=expected["region"], phone_columns=(0,)), LIMITS)
    skipped = expected["extra"].get("skip_rows", 0) + expected["header"]
    with (samples / name).open(encoding=expected["encoding"], newline="", errors="strict") as file:
        plain = (tuple(record) for record in csv.reader(file, delimiter=expected["delimiter"]) if record)
        theirs = list(islice(plain, skipped, None))
    assert [row.cells for row in read_rows(samples / name, detected, LIMITS)] == theirs


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in TORTURE.items() if e.get("kind") == "csv"])
def test_torture_text(samples: Path, name: str, expected: Expected) -> None:
    path = samples / name
    with open_bytes(path, "plain", LIMITS) as stream:
        seen = survey(stream, LIMITS)
    encoding = encoding_of(seen, "US", None)
    dialect = dialect_of(decoded(seen.head, encoding))
    with open_bytes(path, "plain", LIMITS) as stream:
        found = [cells for _, cells in records(text_chunks(stream, encoding, LIMITS), dialect, LIMITS)]

    assert encoding == expected["encoding"]
    assert dialect.delimiter == expected["delimiter"]
    assert len(found) == expected["records"]
    assert sorted({len(cells) for cells in found}) == expected["widths"]
    assert (found[0] if found else None) == expected["first_record"]
    if expected["widths"] and (answers := upstream_answers(path)):
        header, *rows = found
        assert [dict(zip(header, row, strict=True)) for row in rows] == answers


def upstream_answers(path: Path) -> list[dict[str, str]] | None:
    """What csv-spectrum says. Its stored copy has lost the CRs of its text files, and one answer is of another file."""
    answers = path.parents[1] / "json" / f"{path.stem}.json"
    if not answers.is_file() or path.stem == "location_coordinates":
        return None
    rows: list[dict[str, str]] = json.loads(answers.read_text(encoding="utf-8").replace("\\r\\n", "\\n"))
    return rows


@pytest.mark.parametrize(("name", "expected"), [(n, e) for n, e in TORTURE.items() if e.get("kind") == "xlsx"])
def test_torture_workbooks(samples: Path, name: str, expected: Expected) -> None:
    for sheet, totals in expected["sheets"].items():
        assert len(list(workbook_rows(samples / name, sheet, LIMITS))) == totals["nonblank_rows"]
