"""Packed files are read within bounds, and what is no table at all is refused at once."""

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from schemas.uploads import Detected as DetectedMessage
from services.ingest.reading import FileLayout, FileRefused, Limits, ReadOptions
from services.ingest.reading.formats import detect, read_rows
from tests.unit.ingest.reading.files import LIMITS, cells_in, detected_in, people, phone, stored, written

TABLE = written(people(50)).encode()
MIB = 1024 * 1024


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


def with_size(archive: bytes, size: int) -> bytes:
    """The same zip, lying about the unpacked size of its last file."""
    at = archive.rindex(b"PK\x01\x02") + 24
    return archive[:at] + struct.pack("<I", size) + archive[at + 4 :]


@pytest.mark.parametrize(
    ("content", "container"),
    [
        (gzip.compress(TABLE), "gzip"),
        (gzip.compress(TABLE[:700]) + gzip.compress(TABLE[700:]) + b"\0" * 100, "gzip"),
        (zipped({"people.csv": TABLE}), "zip"),
        (zipped({"a/": b"", "a/people.csv": TABLE, "__MACOSX/a/._people.csv": b"x", "a/.DS_Store": b"x"}), "zip"),
        (zipped({"people.csv": TABLE}, zipfile.ZIP_STORED), "zip"),
    ],
)
def test_packed_tables_are_read(tmp_path: Path, content: bytes, container: str) -> None:
    detected = detected_in(tmp_path, content)
    assert (detected.format, detected.container) == ("csv", container)
    assert [list(cells) for cells in cells_in(tmp_path, detected)] == people(50)[1:]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"\n\r\n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"%PDF-1.7 ...", "binary"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "binary"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "binary"),
        (bytes(range(256)) * 10, "binary"),
        (b"\0" * 1000, "binary"),
        (gzip.compress(bytes(range(256)) * 10), "binary"),
        (gzip.compress(TABLE)[:-20], "bad-archive"),
        (gzip.compress(TABLE)[:40] + b"garbage" * 9, "bad-archive"),
        (gzip.compress(gzip.compress(TABLE)), "bad-archive"),
        (zipped({"a.csv": TABLE, "b.csv": TABLE}), "bad-archive"),
        (zipped({}), "bad-archive"),
        (zipped({"a.csv": TABLE}, zipfile.ZIP_LZMA), "bad-archive"),
        (zipped({"a.csv": TABLE})[:-30], "bad-archive"),
        (zipped({"a.zip": zipped({"a.csv": TABLE})}), "bad-archive"),
        (with_size(zipped({"a.csv": TABLE}), 100), "bad-archive"),
        (zipped({f"{number}": b"" for number in range(20_000)}), "bad-archive"),
        (b"PK\x03\x04" + b"x" * 100, "bad-archive"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, content)
    assert refused.value.code == code
    assert refused.value.title
    assert len(refused.value.detail) > 20


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped({"a.csv": content})])
def test_bombs_are_refused_when_they_have_shown_themselves(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    bomb = stored(tmp_path, pack(b"name,phone\n" + b"a,4155550100\n" * 4_000_000))
    limits = Limits(ratio_free_bytes=4 * MIB)
    tracemalloc.start()
    with pytest.raises(FileRefused) as refused:
        detect(bomb, ReadOptions(), limits)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "unzipped-too-big"
    assert peak_bytes < 16 * MIB


def test_a_lying_bigger_size_does_no_harm(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, with_size(zipped({"a.csv": TABLE}), 2**31))
    assert len(cells_in(tmp_path, detected)) == 50


@pytest.mark.parametrize(
    ("begin", "piece", "code"),
    [
        (b'name,phone\n"', b"x" * 1000, "line-too-long"),
        (b'name,phone\nann,4155550100\n"', b"x" * 60 + b"\n", "cell-too-long"),
        (b"", b"4155550100,", "too-many-columns"),
        (b"", b'"\n",', "too-many-columns"),
        (b"", b"4155550100 ", "line-too-long"),
        (b"name,phone\n" + b"ann,4155550100\n" * 100_000, b"x" * 1000, "line-too-long"),
    ],
)
def test_endless_cells_and_lines_are_never_held(tmp_path: Path, begin: bytes, piece: bytes, code: str) -> None:
    path = tmp_path / "upload"
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(32):
            file.write(piece * (MIB // len(piece)))
    tracemalloc.start()
    with pytest.raises(FileRefused) as refused:
        for _ in read_rows(path, detect(path, ReadOptions(), LIMITS), LIMITS):
            pass
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == code
    assert peak_bytes < 24 * MIB


def test_reading_many_rows_holds_few(tmp_path: Path) -> None:
    path = stored(tmp_path, b"name,phone\n" + b"".join(b"%d,(415) 555-01%02d\n" % (n, n % 100) for n in range(100_000)))
    tracemalloc.start()
    detected = detect(path, ReadOptions(), LIMITS)
    assert sum(1 for _ in read_rows(path, detected, LIMITS)) == 100_000
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 * MIB


def test_what_was_detected_fits_the_message_and_comes_back(tmp_path: Path) -> None:
    rows = [["title"], ["phone", "fax"], *([phone(n), phone(n)] for n in range(9))]
    detected = detected_in(tmp_path, written(rows).encode())
    message = DetectedMessage.model_validate(detected.to_dict())
    assert message.phone_columns == (0,)
    assert message.other_phone_columns == (1,)
    assert FileLayout.from_dict(DetectedMessage.model_validate_json(message.model_dump_json()).model_dump()) == detected
