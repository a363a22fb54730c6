"""Workbooks give what a person would see in them, from the sheet that holds the phones."""

import datetime
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.reading import FileRefused, Limits, ReadOptions
from services.ingest.reading.formats import detect, read_rows
from services.ingest.reading.formats.workbook.number_formats import Shown, as_shown, shown_by
from tests.unit.ingest.reading.files import LIMITS, cells_in, people, phone, phones_in


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    with xlsxwriter.Workbook(path) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


def edited(path: Path, part: str, edit: Callable[[str], str]) -> Path:
    """The same workbook with one part changed."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts[part] = edit(parts[part].decode()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return path


SHEET = "xl/worksheets/sheet1.xml"


def test_cells_are_as_a_person_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        day, moment = book.add_format({"num_format": "dd.mm.yyyy"}), book.add_format({"num_format": "d/m/yy hh:mm"})
        padded, percent = book.add_format({"num_format": "00000"}), book.add_format({"num_format": "0.0%"})
        sheet.write_row(0, 0, ["phone", "day", "moment", "zip", "share", "yes", "sum", "text", "rich", "price"])
        sheet.write_number(1, 0, 4155550100)
        sheet.write_datetime(1, 1, datetime.datetime(2024, 2, 29), day)
        sheet.write_datetime(1, 2, datetime.datetime(2024, 2, 29, 13, 5), moment)
        sheet.write_number(1, 3, 1234, padded)
        sheet.write_number(1, 4, 0.25, percent)
        sheet.write_boolean(1, 5, True)
        sheet.write_formula(1, 6, "=A2+1", None, 4155550101)
        sheet.write_string(1, 7, " 0042\n<x> & \x05")
        sheet.write_rich_string(1, 8, "a", book.add_format({"bold": True}), "b", "c")
        sheet.write_number(1, 9, 12.1)
    detected = detect(path, ReadOptions(), LIMITS)
    expected = ("4155550100", "2024-02-29", "2024-02-29T13:05:00", "01234", "0.25", "TRUE", "4155550101")
    assert cells_in(tmp_path, detected) == [(*expected, " 0042\n<x> & \x05", "abc", "12.1")]
    assert phones_in(tmp_path, detected) == ["+14155550100"]
    assert (detected.format, detected.encoding, detected.delimiter) == ("xlsx", "xlsx", None)


def test_rows_agree_with_another_reader(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["name", "phone", "n"], *([f"P {n}", phone(n), n * 1.5] for n in range(300))]
    path = workbook(tmp_path / "upload", {"A": rows})
    detected = detect(path, ReadOptions(), LIMITS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = openpyxl.load_workbook(path.rename(tmp_path / "book.xlsx"), read_only=True)
        values = [[str(value) for value in row] for row in theirs["A"].iter_rows(min_row=2, values_only=True)]
        theirs.close()
    (tmp_path / "book.xlsx").rename(path)
    assert [[*map(str, row)] for row in cells_in(tmp_path, detected)] == values


def test_the_sheet_with_phones_is_read(tmp_path: Path) -> None:
    notes = [["about", "this"], ["some", "words"]]
    path = workbook(tmp_path / "upload", {"Notes": notes, "People": people(9), "More": people(20)})
    detected = detect(path, ReadOptions(), LIMITS)
    assert (detected.sheet, detected.sheets) == ("People", ("Notes", "People", "More"))
    assert len(cells_in(tmp_path, detected)) == 9

    chosen = detect(path, ReadOptions(sheet="More"), LIMITS)
    assert len(cells_in(tmp_path, chosen)) == 20
    for options, code in (
        (ReadOptions(sheet="Less"), "unknown-sheet"),
        (ReadOptions(sheet="Notes"), "no-phone-column"),
    ):
        with pytest.raises(FileRefused) as refused:
            detect(path, options, LIMITS)
        assert refused.value.code == code


def test_titles_blank_rows_and_sheet_rows(tmp_path: Path) -> None:
    header, *rows = people(4)
    path = workbook(tmp_path / "upload", {"A": [["Report"], [], header, rows[0], [], ["", "", ""], *rows[1:]]})
    detected = detect(path, ReadOptions(), LIMITS)
    assert (detected.skipped_lines, detected.columns) == (2, tuple(header))
    found = list(read_rows(path, detected, LIMITS))
    assert [(row.row, row.line) for row in found] == [(1, 4), (2, 7), (3, 8), (4, 9)]
    assert list(read_rows(path, detected, LIMITS, start_row=3)) == found[2:]


def test_short_rows_are_filled_up_to_the_header(tmp_path: Path) -> None:
    path = workbook(tmp_path / "upload", {"A": [["phone", "a", "b"], [phone(1)], [phone(2), "x", "y", "z"]]})
    detected = detect(path, ReadOptions(), LIMITS)
    assert cells_in(tmp_path, detected) == [(phone(1), "", ""), (phone(2), "x", "y", "z")]


def test_cells_without_references_and_with_prefixes(tmp_path: Path) -> None:
    path = workbook(tmp_path / "upload", {"A": [["phone", "b"]]})
    rows = '<x:row><x:c t="inlineStr"><x:is><x:t>phone</x:t></x:is></x:c></x:row>' + "".join(
        f'<x:row><x:c t="str"><x:v>{phone(n)}</x:v></x:c><x:c><x:v>{n}</x:v></x:c></x:row>' for n in range(5)
    )
    sheet = f'<x:worksheet xmlns:x="urn:x"><x:sheetData>{rows}</x:sheetData></x:worksheet>'
    detected = detect(edited(path, SHEET, lambda _: sheet), ReadOptions(), LIMITS)
    assert cells_in(tmp_path, detected) == [(phone(n), str(n)) for n in range(5)]


def test_a_million_styled_blank_rows_do_no_harm(tmp_path: Path) -> None:
    blank = "".join(f'<row r="{n}" s="1" customFormat="1"><c r="A{n}" s="1"/></row>' for n in range(100, 20_100))
    path = workbook(tmp_path / "upload", {"A": people(9)})
    edited(path, SHEET, lambda xml: xml.replace("</sheetData>", blank + "</sheetData>"))
    detected = detect(path, ReadOptions(), LIMITS)
    assert len(cells_in(tmp_path, detected)) == 9


def refused_code(path: Path, limits: Limits = LIMITS) -> str:
    with pytest.raises(FileRefused) as refused:
        for _ in read_rows(path, detect(path, ReadOptions(), limits), limits):
            pass
    return refused.value.code


BOMB = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))


END = "</sheetData>"
HOSTILE: list[tuple[Callable[[str], str], str]] = [
    (lambda xml: f'<!DOCTYPE l [<!ENTITY a "ha">{BOMB}]>' + xml.split("?>")[1], "bad-workbook"),
    (lambda xml: xml.replace("<sheetData>", "<sheetData><row"), "bad-workbook"),
    (lambda xml: xml.replace(END, '<row r="2000000"><c><v>1</v></c></row>' + END), "bad-workbook"),
    (lambda xml: xml.replace(END, '<row><c r="AAAA1"><v>1</v></c></row>' + END), "too-many-columns"),
    (lambda xml: xml.replace(END, "<row><c><v>" + "1" * 200_000 + "</v></c></row>" + END), "cell-too-long"),
    (lambda xml: xml.replace(END, "<row" + " " * 2_000_000 + "/>" + END), "bad-workbook"),
    (lambda xml: xml.replace(END, "<a>" * 3_000_000), "bad-workbook"),
    (lambda xml: xml.replace(END, " " * 20_000_000 + END), "unzipped-too-big"),
]


@pytest.mark.parametrize(("edit", "code"), HOSTILE)
def test_hostile_sheets_are_refused(tmp_path: Path, edit: Callable[[str], str], code: str) -> None:
    assert refused_code(edited(workbook(tmp_path / "upload", {"A": people(9)}), SHEET, edit)) == code


def test_too_many_different_texts_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "upload", {"A": people(99)})
    assert refused_code(path, Limits(max_shared_text_bytes=100)) == "unzipped-too-big"


def test_a_reader_that_needs_too_much_memory_is_ended(tmp_path: Path) -> None:
    path = workbook(tmp_path / "upload", {"A": people(5_000)})
    with pytest.raises(FileRefused) as refused:
        detect(path, ReadOptions(), Limits(child_memory_bytes=16 * 1024 * 1024))
    assert refused.value.code == "bad-workbook"
    assert "memory" in refused.value.detail


def test_other_office_files_are_refused(tmp_path: Path) -> None:
    for name, content in (("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("xl/workbook.bin", b"")):
        with zipfile.ZipFile(tmp_path / "upload", "w") as archive:
            archive.writestr(name, content)
        assert refused_code(tmp_path / "upload") == "bad-workbook"


def test_a_workbook_within_an_archive(tmp_path: Path) -> None:
    inner = workbook(tmp_path / "book.xlsx", {"A": people(9)})
    with zipfile.ZipFile(tmp_path / "upload", "w") as archive:
        archive.write(inner, "book.xlsx")
    detected = detect(tmp_path / "upload", ReadOptions(), LIMITS)
    assert (detected.format, detected.container) == ("xlsx", "zip")
    assert len(cells_in(tmp_path, detected)) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.xlsx", "upload"]


def test_stopping_early_leaves_nothing_behind(tmp_path: Path) -> None:
    path = workbook(tmp_path / "upload", {"A": people(99)})
    rows = read_rows(path, detect(path, ReadOptions(), LIMITS), LIMITS)
    assert next(rows).row == 1
    rows.close()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("format_id", "code", "shown"),
    [
        (0, None, Shown("number")), (14, None, Shown("date")), (22, None, Shown("date")), (46, None, Shown("duration")),
        (164, "yyyy-mm-dd", Shown("date")), (164, "[$-409]d mmm yy;@", Shown("date")),
        (164, "[h]:mm", Shown("duration")),
        (164, '0.00 "days"', Shown("number")), (164, "0000000000", Shown("padded", 10)),
        (164, "General", Shown("number")),
        (164, "[Red]0.00", Shown("number")), (164, "#,##0", Shown("number")),
    ],
)  # fmt: skip
def test_number_formats(format_id: int, code: str | None, shown: Shown) -> None:
    assert shown_by(format_id, code) == shown


@pytest.mark.parametrize(
    ("written", "kind", "text"),
    [
        ("4155550100", "number", "4155550100"), ("4.1555501E9", "number", "4155550100"),
        ("1.1000000000000001", "number", "1.1"),
        ("-0.5", "number", "-0.5"), ("12345678901234567890", "number", "12345678901234567890"), ("x", "number", "x"),
        ("1", "date", "1900-01-01"), ("59", "date", "1900-02-28"), ("61", "date", "1900-03-01"),
        ("45351.5", "date", "2024-02-29T12:00:00"), ("0.25", "date", "06:00:00"), ("1.5", "duration", "36:00:00"),
        ("2958466", "date", "2958466"), ("nan", "number", "nan"), ("nan", "date", "nan"), ("-1", "date", "-1"),
    ],
)  # fmt: skip
def test_numbers_as_shown(written: str, kind: Any, text: str) -> None:
    assert as_shown(written, Shown(kind)) == text


@given(value=st.floats(), kind=st.sampled_from(["number", "date", "duration", "padded"]), from_1904=st.booleans())
def test_any_number_can_be_shown(value: float, kind: Any, from_1904: bool) -> None:
    assert as_shown(repr(value), Shown(kind, 5), from_1904=from_1904)


def test_days_may_count_from_1904() -> None:
    assert as_shown("24472", Shown("date"), from_1904=True) == "1971-01-01"
