"""Delimited files of every dialect are found out by their content, and their table begins where people would say."""

from pathlib import Path

import pytest

from services.ingest.reading import FileRefused, ReadOptions
from services.ingest.reading.formats import read_rows
from tests.unit.ingest.reading.files import LIMITS, cells_in, detected_in, people, phone, phones_in, written

PEOPLE = people(30)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote_all", [False, True])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x01", "\x1f", "§"])
def test_delimiters_quoting_and_line_ends(tmp_path: Path, delimiter: str, quote_all: bool, end: str) -> None:
    text = written(PEOPLE, delimiter, end=end, quote_all=quote_all)
    detected = detected_in(tmp_path, text.encode())
    assert (detected.format, detected.delimiter, detected.header) == ("csv", delimiter, True)
    assert detected.columns == ("id", "name", "phone")
    assert detected.phone_columns == (2,)
    assert cells_in(tmp_path, detected) == [tuple(row) for row in PEOPLE[1:]]


def test_colons(tmp_path: Path) -> None:
    rows = [["id", "phone"], *([str(i), f"41555501{i:02d}"] for i in range(20))]
    detected = detected_in(tmp_path, written(rows, ":").encode())
    assert detected.delimiter == ":"
    assert cells_in(tmp_path, detected) == [tuple(row) for row in rows[1:]]


def test_times_and_links_are_not_columns(tmp_path: Path) -> None:
    lines = [f"http://a.example/{i} at 10:30:{i}" for i in range(10)]
    detected = detected_in(tmp_path, "\n".join(lines).encode(), ReadOptions(phone_columns=(0,)))
    assert cells_in(tmp_path, detected) == [(line,) for line in lines]


@pytest.mark.parametrize(
    ("above", "skipped"),
    [
        ("sep=;\r\n", 1),
        ('"sep=;"\n', 1),
        ("All customers\r\n", 1),
        ("All customers\r\nof 2024\r\n\r\n", 3),
        ("#LINK;;\r\n", 1),
        ("\r\n\r\n", 2),
    ],
)
def test_what_stands_above_the_header_is_skipped(tmp_path: Path, above: str, skipped: int) -> None:
    detected = detected_in(tmp_path, (above + written(PEOPLE, ";")).encode())
    assert (detected.header, detected.skipped_lines, detected.columns) == (True, skipped, ("id", "name", "phone"))
    assert cells_in(tmp_path, detected) == [tuple(row) for row in PEOPLE[1:]]


def test_without_a_header_every_record_is_a_row(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, written(PEOPLE[1:]).encode())
    assert (detected.header, detected.columns, detected.phone_columns) == (False, (), (2,))
    assert len(cells_in(tmp_path, detected)) == 30


def test_a_section_title_in_a_file_without_header_is_a_row(tmp_path: Path) -> None:
    rows = [["Shelters", "", ""], *PEOPLE[1:4], ["Kitchens", "", ""], *PEOPLE[4:8]]
    detected = detected_in(tmp_path, written(rows).encode())
    assert detected.header is False
    assert cells_in(tmp_path, detected) == [tuple(row) for row in rows]


@pytest.mark.parametrize(("header", "rows"), [(True, 29), (False, 30)])
def test_a_person_may_say_whether_there_is_a_header(tmp_path: Path, header: bool, rows: int) -> None:
    detected = detected_in(tmp_path, written(PEOPLE[1:]).encode(), ReadOptions(header=header))
    assert len(cells_in(tmp_path, detected)) == rows


@pytest.mark.parametrize("content", ["4155550100", "4155550100\n", "phone\n4155550100", "Phone\r\n415-555-0100\r\n"])
def test_a_single_column(tmp_path: Path, content: str) -> None:
    detected = detected_in(tmp_path, content.encode())
    assert (detected.delimiter, detected.phone_columns) == (",", (0,))
    assert phones_in(tmp_path, detected) == ["+14155550100"]


def test_rows_keep_their_own_width_and_blank_lines_are_none(tmp_path: Path) -> None:
    text = f"name,phone\nAnn,{phone(1)}\n\nBen\n,\nCid,{phone(2)},x,,\n\n"
    detected = detected_in(tmp_path, text.encode())
    expected = [("Ann", phone(1)), ("Ben",), ("", ""), ("Cid", phone(2), "x", "", "")]
    assert cells_in(tmp_path, detected) == expected


def test_mixed_line_ends(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, f"name,phone\r\nAnn,{phone(1)}\rBen,{phone(2)}\nCid,{phone(3)}\r\n".encode())
    assert [cells[0] for cells in cells_in(tmp_path, detected)] == ["Ann", "Ben", "Cid"]


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ("'{n}','O, Neil','{p}'\n", ("{n}", "O, Neil", "{p}")),
        ('{n},"says \\"hi, you\\"","{p}"\n', ("{n}", 'says "hi, you"', "{p}")),
        ('{n}, "Doe, J", "{p}"\n', ("{n}", "Doe, J", "{p}")),
        ('{n},5" pipe,{p}\n', ("{n}", '5" pipe', "{p}")),
        ('{n},"Ann ""A"" Lee",{p}\n', ("{n}", 'Ann "A" Lee', "{p}")),
        ('{n},"1 Main St\r\nOakland, CA",{p}\n', ("{n}", "1 Main St\r\nOakland, CA", "{p}")),
    ],
)
def test_ways_of_quoting(tmp_path: Path, line: str, cells: tuple[str, ...]) -> None:
    text = "".join(line.format(n=n, p=phone(n)) for n in range(20))
    detected = detected_in(tmp_path, text.encode())
    expected = [tuple(cell.format(n=n, p=phone(n)) for cell in cells) for n in range(20)]
    assert cells_in(tmp_path, detected) == expected


def test_quotes_that_mean_nothing(tmp_path: Path) -> None:
    lines = [f'{n}\t"Ann\t{phone(n)}' for n in range(20)]
    detected = detected_in(tmp_path, "\n".join(lines).encode())
    assert cells_in(tmp_path, detected) == [(str(n), '"Ann', phone(n)) for n in range(20)]


def test_nul_bytes_are_kept(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, f"name,phone\nAn\0n\0,{phone(1)}\0\n".encode())
    assert cells_in(tmp_path, detected) == [("An\0n\0", phone(1) + "\0")]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    text = f'title\n\nname,phone\n"a\nb",{phone(1)}\n\nc,{phone(2)}\n'
    detected = detected_in(tmp_path, text.encode())
    assert [(row.row, row.line) for row in read_rows(tmp_path / "upload", detected, LIMITS)] == [(1, 4), (2, 7)]


def test_a_person_may_fix_the_delimiter(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, b"a b;c\n4155550100 x;y\n", ReadOptions(delimiter=" ", phone_columns=(0,)))
    assert cells_in(tmp_path, detected) == [("4155550100", "x;y")]


@pytest.mark.parametrize("delimiter", ["", ",,", "\n", '"'])
def test_what_cannot_be_a_delimiter_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, written(PEOPLE).encode(), ReadOptions(delimiter=delimiter))
    assert refused.value.code == "bad-delimiter"
