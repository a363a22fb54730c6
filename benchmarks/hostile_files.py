"""Writes files that are made to do harm: bombs, endless cells and lines, lies about sizes, things that run."""

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
TABLE: Final = b"name,phone\nAnn,(415) 555-0100\nBob,(415) 555-0101\n"
_WORKBOOK: Final = '<workbook xmlns:r="urn:r"><sheets><sheet name="A" sheetId="1" r:id="r1"/></sheets></workbook>'
_RELATIONS: Final = '<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>'
_ROWS: Final = "".join(
    f'<row r="{n}"><c r="A{n}" t="str"><v>{text}</v></c></row>' for n, text in ((1, "phone"), (2, "(415) 555-0100"))
)
_LAUGHS: Final = '<!DOCTYPE x [<!ENTITY a0 "ha">{}]>'.format(
    "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
)
_SECRET: Final = '<!DOCTYPE x [<!ENTITY a29 SYSTEM "file:///etc/passwd">]>'


def hostile_files() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """A name, and what writes the file: one after another, so that only one of them needs room."""
    yield from _bombs()
    yield from _endless()
    yield from _wide()
    yield from _lies()
    yield from _workbooks()
    yield from _slow()


def _bombs() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "gzip bomb, 4 GiB of one line in 8 MB", lambda path: _gzip_of(path, b"a,4155550100\n", 4 * GIB)
    piece = b"a,4155550100\n" * (MIB // 13)
    yield "zip bomb, 1 GiB of one line in 3 MB", lambda path: _zip_of(path, "a.csv", piece, 1024)
    yield "zip bomb, 1 GiB of zeros in 1 MB", lambda path: _zip_of(path, "a.csv", b"\0" * MIB, 1024)
    yield "zip bomb of archives in archives", lambda path: _write(path, _nested(TABLE, depth=6))
    yield "zip of 60,000 entries", lambda path: _write(path, zipped({str(n): b"" for n in range(60_000)}))
    yield "XLSX bomb, a sheet of 1 GiB", lambda path: _blown_up_sheet(path, b'<row r="5"/>', GIB)
    yield "XLSX bomb, one text of 1 GiB", lambda path: _blown_up_sheet(path, b"x", GIB)


def _endless() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "CSV, 1 GiB in a quoted cell of one line", lambda path: _repeat(path, TABLE + b'"', b"x" * MIB, GIB)
    yield (
        "CSV, 1 GiB in a quoted cell of many lines",
        lambda path: _repeat(path, TABLE + b'"', b"xxxxxxx\n" * 131_072, GIB),
    )
    yield (
        "CSV, 10 MB of rows, then 1 GiB in a quoted cell",
        lambda path: _repeat(path, TABLE * 200_000 + b'"', b"x" * MIB, GIB),
    )
    yield "CSV, 1 GiB without a line end", lambda path: _repeat(path, b"", b"4155550100 " * 95_325, GIB)
    yield "CSV, 256 MiB of line ends", lambda path: _repeat(path, b"", b"\n" * MIB, 256 * MIB)
    yield "JSON Lines, 256 MiB in one object", lambda path: _repeat(path, b'{"phone":"', b"1" * MIB, 256 * MIB)
    yield "JSON nested 100,000 deep", lambda path: _write(path, b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n")


def _wide() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "CSV of a million columns", lambda path: _write(path, (b"phone," * 1_000_000 + b"\n") * 3)
    yield "CSV of a million empty columns", lambda path: _write(path, (b"," * 1_000_000 + b"\n") * 3)
    yield "CSV of 16,000 columns and 300 rows", lambda path: _write(path, (b"x," * 15_999 + b"4155550100\n") * 300)
    yield (
        "JSON Lines, a million keys",
        lambda path: _write(path, b"".join(b'{"phone":"4155550100","k%d":1}\n' % n for n in range(1_000_000))),
    )
    yield (
        "XLSX with a cell in column 1,000,000",
        lambda path: _write(path, workbook(sheet=_ROWS + '<row r="3"><c r="BDWGN3"><v>1</v></c></row>')),
    )
    yield "XLSX of 500 sheets", lambda path: _write(path, _many_sheets(500))


def _lies() -> Iterator[tuple[str, Callable[[Path], None]]]:
    table = TABLE + b"Ann,(415) 555-0100\n" * 100_000
    yield "zip that says it holds 10 bytes", lambda path: _write(path, with_size(zipped({"a.csv": table}), 10))
    yield "zip that says it holds 4 GiB", lambda path: _write(path, with_size(zipped({"a.csv": TABLE}), 2**32 - 2))
    yield "zip with a damaged checksum", lambda path: _write(path, _with_wrong_checksum(zipped({"a.csv": TABLE})))
    yield (
        "gzip that says it holds 10 bytes",
        lambda path: _write(path, gzip.compress(table)[:-4] + struct.pack("<I", 10)),
    )
    yield "zip cut off in the middle", lambda path: _write(path, zipped({"a.csv": os.urandom(MIB)})[: MIB // 2])
    yield (
        "XLSX that declares 16,384 × 1,048,576 cells",
        lambda path: _write(path, workbook(sheet=_ROWS, above='<dimension ref="A1:XFD1048576"/>')),
    )
    yield (
        "XLSX that declares four billion texts",
        lambda path: _write(path, workbook(sheet=_ROWS, texts='<sst count="4294967295" uniqueCount="4294967295"/>')),
    )


def _workbooks() -> Iterator[tuple[str, Callable[[Path], None]]]:
    laughing = _ROWS.replace("phone", "&a29;")
    yield "XLSX entity bomb (a billion laughs) in a sheet", lambda path: _write(path, workbook(laughing, _LAUGHS))
    yield (
        "XLSX entity bomb in the shared texts",
        lambda path: _write(path, workbook(_ROWS, texts=_LAUGHS + "<sst><si><t>&a29;</t></si></sst>")),
    )
    yield "XLSX that includes a file of the server", lambda path: _write(path, workbook(laughing, _SECRET))
    yield (
        "XLSX nested 100,000 deep",
        lambda path: _write(path, workbook("<a>" * 100_000 + "</a>" * 100_000)),
    )
    yield (
        "XLSX with a tag of 64 MiB",
        lambda path: _write(path, workbook(f'<row r="1" x="{"y" * 64 * MIB}"/>', method=zipfile.ZIP_STORED)),
    )
    formulas = b"name,phone,note\n" + b"=cmd|'/C calc'!A0,(415) 555-0100,@SUM(1+1)*cmd\n" * 1_000
    yield "CSV of formulas", lambda path: _write(path, formulas)
    formula = '<row r="{0}"><c r="A{0}" t="str"><f>WEBSERVICE("http://x")</f><v>(415) 555-0100</v></c></row>'
    yield "XLSX of formulas", lambda path: _write(path, workbook("".join(formula.format(n) for n in range(3, 1_000))))


def _slow() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Cells that invite a search for phones to take for ever."""
    for name, cell in (
        ("digits and blanks", b"1 " * 500),
        ("opened brackets", b"(" * 1_000 + b"415"),
        ("digits and dashes", b"4-1-5-" * 160),
    ):
        rows = b"name,phone\n" + b"Ann,(415) 555-0100\n" * 100 + (b"Eve,%b\n" % cell) * 1_000
        # Mypy cannot infer a lambda with a default.
        yield f"CSV, 1,000 cells of {name}", lambda path, rows=rows: _write(path, rows)  # type: ignore[misc]
    yield "random bytes, 16 MiB", lambda path: _write(path, os.urandom(16 * MIB))
    yield "zeros, 64 MiB", lambda path: _write(path, b"\0" * 64 * MIB)
    yield "text of quotation marks, 16 MiB", lambda path: _write(path, b'"' * 16 * MIB)
    yield "text of random lines, 16 MiB", lambda path: _write(path, zlib.compress(os.urandom(16 * MIB)).hex().encode())


def workbook(sheet: str, above: str = "", *, texts: str = "<sst/>", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The least that is a workbook. `above` stands before the sheet's rows: a document type, or what it declares."""
    type_, declared = (above, "") if above.startswith("<!") else ("", above)
    parts = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": _WORKBOOK,
        "xl/_rels/workbook.xml.rels": _RELATIONS,
        "xl/sharedStrings.xml": texts,
        "xl/worksheets/sheet1.xml": f"{type_}<worksheet>{declared}<sheetData>{sheet}</sheetData></worksheet>",
    }
    return zipped({name: part.encode() for name, part in parts.items()}, method)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


def with_size(archive: bytes, size: int) -> bytes:
    """The same zip, lying about the unpacked size of its last file in both places."""
    local, central = archive.rindex(b"PK\x03\x04") + 22, archive.rindex(b"PK\x01\x02") + 24
    for at in (local, central):
        archive = archive[:at] + struct.pack("<I", size) + archive[at + 4 :]
    return archive


def _with_wrong_checksum(archive: bytes) -> bytes:
    at = archive.rindex(b"PK\x01\x02") + 16
    return archive[:at] + b"\0\0\0\0" + archive[at + 4 :]


def _nested(content: bytes, *, depth: int) -> bytes:
    for level in range(depth):
        content = zipped({f"{level}.zip": content})
    return content


def _many_sheets(count: int) -> bytes:
    numbers = range(1, count + 1)
    sheets = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    relations = "".join(f'<Relationship Id="r{n}" Target="worksheets/sheet{n}.xml"/>' for n in numbers)
    parts = {
        "xl/workbook.xml": f'<workbook xmlns:r="urn:r"><sheets>{sheets}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships>{relations}</Relationships>",
    }
    parts |= {f"xl/worksheets/sheet{n}.xml": f"<worksheet><sheetData>{_ROWS}</sheetData></worksheet>" for n in numbers}
    return zipped({name: part.encode() for name, part in parts.items()})


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _repeat(path: Path, begin: bytes, piece: bytes, total_bytes: int) -> None:
    with path.open("wb") as file:
        file.write(begin)
        while file.tell() < total_bytes:
            file.write(piece)


def _gzip_of(path: Path, line: bytes, total_bytes: int) -> None:
    """Many equal members: as hostile as one, and written at once."""
    piece = line * (16 * MIB // len(line))
    member = gzip.compress(piece)
    path.write_bytes(member * (total_bytes // len(piece)))


def _zip_of(path: Path, name: str, piece: bytes, count: int) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        for _ in range(count):
            entry.write(piece)


def _blown_up_sheet(path: Path, piece: bytes, total_bytes: int) -> None:
    small = io.BytesIO(workbook(_ROWS))
    block = piece * (MIB // len(piece))
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist()[:-1]:
            target.writestr(name, source.read(name))
        with target.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as entry:
            entry.write(f"<worksheet><sheetData>{_ROWS}".encode())
            entry.write(b'<row r="3"><c r="A3" t="str"><v>' if piece == b"x" else b"")
            for _ in range(total_bytes // len(block)):
                entry.write(block)
