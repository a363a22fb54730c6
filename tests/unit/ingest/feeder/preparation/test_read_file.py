"""What a child leaves behind of a file: within bounds whatever the file is, and "no room" is never its fault."""

import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from openpyxl import Workbook

from benchmarks.hostile_files import workbook
from schemas.codec import decode
from schemas.settings import Settings
from services.ingest.feeder.check import most_text_bytes
from services.ingest.feeder.preparation.outcome import ReaderOutcome
from services.ingest.feeder.preparation.read_file import EXIT_DISK_FULL, ReadTask, outcome_path, run
from services.ingest.feeder.preparation.row_file import PreparedReader
from services.ingest.reading import ReadOptions

FULL_DISK = Path("/dev/full")


def task(folder: Path, content: bytes, *, max_text_bytes: int = 10**9, **options: Any) -> ReadTask:
    (folder / "spool").mkdir(exist_ok=True)
    (folder / "file").write_bytes(content)
    return ReadTask(
        path=str(folder / "file"),
        folder=str(folder / "spool"),
        options=ReadOptions(**options),
        max_rows=1_000_000,
        max_text_bytes=max_text_bytes,
    )


def prepared(one: ReadTask) -> ReaderOutcome:
    run(one.as_json())
    return decode(ReaderOutcome, outcome_path(Path(one.folder)).read_bytes())


def code_of(one: ReadTask) -> str | None:
    refusal = prepared(one).refusal
    return None if refusal is None else refusal.code


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def test_one_wide_object_costs_no_more_than_itself(tmp_path: Path) -> None:
    narrow, wide = {"phone": "+14155550101"}, {f"{n:x}": 1 for n in range(12_000)}
    one = task(tmp_path, lines(narrow, wide, *[narrow] * 6_000), max_text_bytes=64_000_000)
    outcome = prepared(one)
    assert outcome.counts is not None
    assert (outcome.counts.rows, outcome.counts.usable) == (6_002, 6_001)
    assert sum(path.stat().st_size for path in Path(one.folder).iterdir()) < 2_000_000


def test_text_beyond_all_measure_is_refused_while_it_is_read(tmp_path: Path) -> None:
    narrow, wide = {"phone": "+14155550101"}, {f"{n:x}": 1 for n in range(12_000)}
    content = lines(narrow, wide, *[narrow | {"beyond": 1}] * 6_000)
    assert len(content) < 500_000
    one = task(tmp_path, content, max_text_bytes=most_text_bytes(len(content), Settings()))
    assert code_of(one) == "too-much-text"
    assert sum(path.stat().st_size for path in Path(one.folder).iterdir()) < 70_000_000


def test_texts_that_cells_of_a_workbook_share_count_each_time(tmp_path: Path) -> None:
    row = '<row r="{0}"><c r="A{0}" t="s"><v>0</v></c><c r="B{0}" t="s"><v>1</v></c></row>'
    texts = f"<sst><si><t>+14155550100</t></si><si><t>{'x' * 30_000}</t></si></sst>"
    content = workbook("".join(row.format(n) for n in range(1, 2_000)), texts=texts)
    assert len(content) < 50_000
    one = task(tmp_path, content, max_text_bytes=30_000_000)
    assert code_of(one) == "too-much-text"


def test_the_budget_grows_with_the_file() -> None:
    assert most_text_bytes(0, Settings()) == most_text_bytes(3_200_000, Settings()) == 64_000_000
    assert most_text_bytes(10_000_000, Settings()) == 200_000_000


def test_names_of_sheets_are_bounded(tmp_path: Path) -> None:
    book = Workbook()
    book.worksheets[0].append(["+14155550100"])
    book.save(tmp_path / "book")
    for name, many in (("n" * 201, 1), ("é" * 200, 200)):
        sheets = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId1"/>' for n in range(1, many + 1))
        with zipfile.ZipFile(tmp_path / "book") as source, zipfile.ZipFile(tmp_path / "hostile", "w") as target:
            for entry in source.infolist():
                data = source.read(entry)
                if entry.filename == "xl/workbook.xml":
                    begin, end = data.index(b"<sheets>") + 8, data.index(b"</sheets>")
                    data = data[:begin] + sheets.encode() + data[end:]
                target.writestr(entry, data)
        assert code_of(task(tmp_path, (tmp_path / "hostile").read_bytes())) == "bad-workbook"


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        (b"a,b\n1,2\n", {"phone_columns": ("c" * 500,)}, "unknown-column"),
        (b"a\x00b,c\x00d\n1,2\n", {"phone_columns": ("x",)}, "unknown-column"),
        (b"a,phone\n1,4155550100\n", {"phone_columns": (16_383,)}, "unknown-column"),
        (b"a,phone\n1,4155550100\n", {"area_column": 7}, "unknown-column"),
        (b"phone\n4155550100\n", {"encoding": "undefined"}, "unknown-encoding"),
        (b"phone\n4155550100\n", {"encoding": "unicode_escape"}, "unknown-encoding"),
        (b"phone\n4155550100\n", {"encoding": "zlib"}, "unknown-encoding"),
        (b"phone\n4155550100\n", {"encoding": "utf-8\x00"}, "unknown-encoding"),
        (b"phone\n4155550100\n", {"encoding": "../utf-8"}, "unknown-encoding"),
        (b"phone\n4155550100\n", {"delimiter": "\n"}, "bad-delimiter"),
        (b"phone\n4155550100\n", {"region": "ZZ"}, "unknown-region"),
        (b"phone," + b"h" * 1_001 + b"\n4155550100,x\n", {"header": True}, "header-too-long"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_few_words(
    tmp_path: Path, content: bytes, options: dict[str, Any], code: str
) -> None:
    refusal = prepared(task(tmp_path, content, **options)).refusal
    assert refusal is not None
    assert (refusal.code, len(refusal.detail) <= 2_000, "\0" in refusal.detail) == (code, True, False)


def test_long_names_are_told_of_in_a_bounded_sentence(tmp_path: Path) -> None:
    header = ",".join(f"{n}".zfill(900) for n in range(100)).encode()
    refusal = prepared(task(tmp_path, header + b"\n1,2\n", header=True, phone_columns=("none",))).refusal
    assert refusal is not None
    assert refusal.code == "unknown-column"
    assert len(refusal.detail) == 2_000


@pytest.mark.parametrize("name", ["rows", "marks", "phones", "outcome.part"])
def test_a_full_disk_is_not_the_files_fault(tmp_path: Path, name: str) -> None:
    one = task(tmp_path, b"phone\n4155550100\n")
    (Path(one.folder) / name).symlink_to(FULL_DISK)
    with pytest.raises(SystemExit) as end:
        run(one.as_json())
    assert end.value.code == EXIT_DISK_FULL


@pytest.mark.parametrize(
    ("line", "usable"),
    [("Axel,030 23125122 (Axel)", 3), ("Kundennummer,0302312512412345", 2)],
)
def test_a_number_of_too_many_digits_rejects_its_row_and_no_more(tmp_path: Path, line: str, usable: int) -> None:
    content = f"Name,Telefon\nAnna,030 23125121\n{line}\nBernd,030 23125123\n".encode()
    outcome = prepared(task(tmp_path, content, region="DE"))
    assert outcome.counts is not None
    assert (outcome.counts.rows, outcome.counts.usable) == (3, usable)
    for row in PreparedReader(tmp_path / "spool").take(3):
        assert not row.phone or len(row.phone) <= len("+123456789012345")
