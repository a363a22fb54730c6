"""Writes the input files of the benchmarks: contacts with names, a phone and a few more columns."""

import csv
import json
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from benchmarks.phones import as_people_write, phone

_HEADER = ("id", "first_name", "last_name", "phone", "city", "note")
_SHEET_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
)
_TEXTS_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
)
_WORKBOOK = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="Contacts" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="worksheets/sheet1.xml" Type="http://schemas.openxmlformats.org/'
    'officeDocument/2006/relationships/worksheet"/></Relationships>'
)


def write_contacts(path: Path, phone_indexes: Iterable[int]) -> Path:
    """A CSV with one row for each index, in order; the spelling of a phone varies from row to row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for row, index in enumerate(phone_indexes, start=1):
            writer.writerow(_contact(row, index, "call after 5"))
    return path


def write_long_csv(path: Path, phone_indexes: Iterable[int]) -> Path:
    """A CSV of some hundred bytes a row, each row with a note of its own."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(chain([_HEADER], _long_contacts(phone_indexes)))
    return path


def write_long_json_lines(path: Path, phone_indexes: Iterable[int]) -> Path:
    """The same rows as `write_long_csv`, an object a line."""
    with path.open("w", encoding="utf-8") as file:
        for contact in _long_contacts(phone_indexes):
            file.write(json.dumps(dict(zip(_HEADER, contact, strict=True))) + "\n")
    return path


def write_long_workbook(path: Path, phone_indexes: Iterable[int]) -> Path:
    """The same rows as `write_long_csv` as Excel saves them: each different text once, in a part that cells refer to.

    Written by hand, because the writers that share texts hold all of them in Python objects: more than a gigabyte.
    """
    texts: dict[str, int] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("xl/workbook.xml", _WORKBOOK)
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS)
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(_SHEET_HEAD.encode())
            for number, contact in enumerate(chain([_HEADER], _long_contacts(phone_indexes)), start=1):
                cells = "".join(_cell(f"{chr(65 + at)}{number}", value, texts) for at, value in enumerate(contact))
                sheet.write(f'<row r="{number}">{cells}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")
        with archive.open("xl/sharedStrings.xml", "w") as shared:
            shared.write(_TEXTS_HEAD.encode())
            shared.writelines(f"<si><t>{text}</t></si>".encode() for text in texts)
            shared.write(b"</sst>")
    return path


def spread(rows: int, distinct: int) -> Iterable[int]:
    """`rows` indexes over `distinct` phones, repetitions far apart: the step shares no factor with `distinct`."""
    step = 7919
    while distinct % step == 0:
        step += 2
    return ((row * step) % distinct for row in range(rows))


def _contact(row: int, index: int, note: str) -> tuple[int | str, ...]:
    spelled = as_people_write(phone(index), row)
    return (row, f"First{row % 997}", f"Last{row % 4999}", spelled, f"City {row % 313}", note)


def _long_contacts(phone_indexes: Iterable[int]) -> Iterator[tuple[int | str, ...]]:
    for row, index in enumerate(phone_indexes, start=1):
        yield _contact(row, index, f"asked at booth {row} to be called after 5 on any day")


def _cell(reference: str, value: int | str, texts: dict[str, int]) -> str:
    if isinstance(value, int):
        return f'<c r="{reference}"><v>{value}</v></c>'
    return f'<c r="{reference}" t="s"><v>{texts.setdefault(value, len(texts))}</v></c>'
