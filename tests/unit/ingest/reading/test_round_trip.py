"""Whatever is in a file comes back: as many rows as went in, every cell unchanged, in any dialect and encoding."""

import csv
import io
import tempfile
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.reading import Dialect, FileLayout, FileRefused, Limits
from services.ingest.reading.formats import read_rows
from services.ingest.reading.formats.delimited import records
from services.ingest.reading.text import KEEP_BYTES, decoded, text_chunks
from tests.unit.ingest.reading.files import LIMITS, cells_in, detected_in, people, stored, written

DIRTY = st.text(
    st.one_of(
        st.sampled_from("\",;\t|^~'\\\r\n =\0\u00a0\u3000\ufeff\ufffd"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
ROWS = st.lists(st.lists(DIRTY, min_size=1, max_size=5), min_size=1, max_size=8)
DELIMITERS = st.sampled_from(",;\t|^~:")
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def described(delimiter: str, encoding: str = "utf-8") -> FileLayout:
    """A file of which all is known but its rows."""
    return FileLayout(
        format="csv", encoding=encoding, delimiter=delimiter, sheet=None, sheets=(), header=False, skipped_lines=0,
        columns=(), phone_columns=(0,), other_phone_columns=(), area_column=None, area_column_candidates=(),
        region="US", dialect=Dialect(delimiter),
    )  # fmt: skip


@given(rows=ROWS, delimiter=DELIMITERS, end=ENDS, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_dirty_rows_come_back_as_they_were_written(
    rows: list[list[str]], delimiter: str, end: str, encoding: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = stored(Path(folder), written(rows, delimiter, end=end, quote_all=True).encode(encoding))
        found = list(read_rows(path, described(delimiter, encoding), LIMITS))
    assert [list(row.cells) for row in found] == rows
    assert [row.row for row in found] == list(range(1, len(rows) + 1))


@given(data=st.binary(max_size=300), delimiter=DELIMITERS)
def test_any_bytes_give_the_records_that_csv_gives(data: bytes, delimiter: str) -> None:
    text = data.decode("utf-8", KEEP_BYTES)
    plain = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    theirs = [record for record in plain if record]
    chunks = text_chunks(io.BytesIO(data), "utf-8", LIMITS)
    assert [cells for _, cells in records(chunks, Dialect(delimiter), LIMITS)] == theirs


@given(rows=ROWS, size=st.integers(1, 7))
def test_where_chunks_are_cut_does_not_matter(rows: list[list[str]], size: int) -> None:
    text = written(rows, quote_all=True)
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    assert [cells for _, cells in records(pieces, Dialect(), LIMITS)] == rows


@given(extra=st.lists(st.lists(DIRTY, min_size=2, max_size=2), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_detected_files_come_back_too(extra: list[list[str]]) -> None:
    header, *rows = people(40)
    rows = [[*row, *(extra[at] if at < len(extra) else ["x", "y"])] for at, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        content = written([[*header, "note", "remark"], *rows], quote_all=True).encode()
        detected = detected_in(Path(folder), content)
        assert (detected.encoding, detected.delimiter, detected.phone_columns) == ("utf-8", ",", (2,))
        assert [list(cells) for cells in cells_in(Path(folder), detected)] == rows


@given(start=st.integers(1, 60))
def test_reading_goes_on_where_it_stopped(start: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = stored(Path(folder), written(people(50), quote_all=True).encode())
        detected = detected_in(Path(folder), path.read_bytes())
        stored_detected = FileLayout.from_dict(detected.to_dict())
        assert stored_detected == detected
        everything = list(read_rows(path, detected, LIMITS))
        assert list(read_rows(path, stored_detected, LIMITS, start_row=start)) == everything[start - 1 :]


ENCODINGS = ["utf-8", "cp1252", "cp932", "cp949", "gbk", "big5", "euc_jp", "utf-16-le", "mac_roman", "cp1251", "koi8_r"]


@given(data=st.binary(max_size=200), encoding=st.sampled_from(ENCODINGS))
def test_every_byte_becomes_a_character_that_can_be_stored(data: bytes, encoding: str) -> None:
    text = decoded(data, encoding)
    text.encode("utf-8")
    if b"\xef\xbf\xbd" not in data and encoding == "utf-8":
        assert "\ufffd" not in text
    assert "".join(text_chunks(io.BytesIO(data), encoding, LIMITS)) == text


@given(data=st.binary(max_size=200), encoding=st.sampled_from(["cp1252", "mac_roman", "cp1251", "utf-8"]))
def test_the_bytes_can_be_had_back(data: bytes, encoding: str) -> None:
    text = decoded(data, encoding)
    if any("\uef00" <= character <= "\uefff" for character in data.decode("utf-8", "ignore")):
        return
    pieces = (
        bytes([ord(character) & 0xFF])
        if "\uef00" <= character <= "\uefff" or (encoding != "utf-8" and "\x80" <= character <= "\x9f")
        else character.encode(encoding)
        for character in text
    )
    assert b"".join(pieces) == data


SMALL = Limits(max_rows=5, max_columns=4, max_cell_chars=20, max_line_chars=40)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("a\n" * 6, "too-many-rows"),
        ("1,2,3,4,5\n", "too-many-columns"),
        ('"' + "x\n" * 12 + '"\n', "cell-too-long"),
        (("x" * 19 + ",") * 3 + "\n", "line-too-long"),
        ("x" * 400, "line-too-long"),
        ('"a","' + "x" * 18 + '","' + "y" * 18 + '\n"\n', "line-too-long"),
        (",".join("12345678") * 20, "too-many-columns"),
    ],
)
def test_what_is_over_the_limits_is_refused_with_the_place(tmp_path: Path, content: str, code: str) -> None:
    path = stored(tmp_path, ("a,b\n" + content).encode())
    with pytest.raises(FileRefused) as refused:
        list(read_rows(path, described(","), SMALL))
    assert refused.value.code == code
    assert "ine " in refused.value.detail


@given(lines=st.lists(st.text("ab,\n", max_size=30), max_size=10))
def test_the_limits_hold_and_refuse_nothing_below_them(lines: list[str]) -> None:
    content = "\n".join(lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = stored(Path(folder), content)
        try:
            found = list(islice(read_rows(path, described(","), SMALL), 100))
        except FileRefused:
            plain = [record for record in csv.reader(io.StringIO(content.decode(), newline="")) if record]
            assert len(plain) > SMALL.max_rows or any(
                len(record) > SMALL.max_columns or sum(map(len, record)) + len(record) > SMALL.max_cell_chars
                for record in plain
            )
        else:
            assert all(len(row.cells) <= SMALL.max_columns for row in found)
