"""Reads the parts of a workbook that its sheets refer to: the list of sheets, the styles, the shared texts."""

import re
from dataclasses import dataclass
from pathlib import Path
from posixpath import join, normpath
from typing import Final

from services.ingest.reading.formats.workbook.number_formats import PLAIN, Shown, shown_by
from services.ingest.reading.formats.workbook.text_store import TextStore
from services.ingest.reading.formats.workbook.xml_events import Handler, local_name
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused

MOST_SHARED_TEXTS: Final = 10_000_000
MOST_STYLES: Final = 100_000
MOST_SHEETS: Final = 1_000
LONGEST_SHEET_NAME: Final = 200
MOST_NAME_BYTES: Final = 64_000
"""Of all sheets: their names go with every event of the upload. Excel allows 31 characters each."""
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet's name, the part that holds it, and whether people see its tab."""

    name: str
    relation: str
    visible: bool


class SheetList(Handler):
    """`xl/workbook.xml`: the sheets in the order of their tabs, and from when days count."""

    def __init__(self) -> None:
        self.sheets: list[Sheet] = []
        self.from_1904 = False
        self._name_bytes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = local_name(name)
        if name == "workbookPr":
            self.from_1904 |= attributes.get("date1904") in ("1", "true")
        elif name == "sheet":
            if len(self.sheets) == MOST_SHEETS:
                raise FileRefused("bad-workbook", f"The workbook has more than {MOST_SHEETS:,} sheets. Keep one.")
            relation = next((value for key, value in attributes.items() if local_name(key) == "id" and key != "id"), "")
            visible = attributes.get("state", "visible") == "visible"
            self.sheets.append(Sheet(self._checked(attributes.get("name", "")), relation, visible))

    def _checked(self, name: str) -> str:
        self._name_bytes += len(name.encode())
        if len(name) > LONGEST_SHEET_NAME or self._name_bytes > MOST_NAME_BYTES:
            raise FileRefused(
                "bad-workbook", "The names of the sheets are too long. Rename the sheet, or keep only one."
            )
        return name


class Relations(Handler):
    """`xl/_rels/workbook.xml.rels`: the part of each id."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if local_name(name) == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "")
            part = target.lstrip("/") if target.startswith("/") else normpath(join("xl", target))
            self.parts[attributes.get("Id", "")] = part


class Styles(Handler):
    """`xl/styles.xml`: how each cell style shows numbers."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self._codes: dict[int, str] = {}
        self._in_cell_formats = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = local_name(name)
        if name == "numFmt":
            self._codes[_integer(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            self._in_cell_formats = True
        elif name == "xf" and self._in_cell_formats and len(self.shown) < MOST_STYLES:
            format_id = _integer(attributes.get("numFmtId"))
            self.shown.append(shown_by(format_id, self._codes.get(format_id)))

    def end(self, name: str) -> None:
        if local_name(name) == "cellXfs":
            self._in_cell_formats = False

    def of(self, style: str | None) -> Shown:
        """How a cell with this style attribute shows a number."""
        at = _integer(style)
        return self.shown[at] if at < len(self.shown) else PLAIN


class SharedTexts(Handler):
    """`xl/sharedStrings.xml`: texts that cells refer to by number."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._texts = TextStore(folder)
        self._most_bytes = limits.max_shared_text_bytes
        self._taking = False
        self._in_reading_aid = False

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if ":" in name:
            name = local_name(name)
        if name == "t":
            self._taking = not self._in_reading_aid
        elif name == "rPh":
            self._in_reading_aid = True

    def end(self, name: str) -> None:
        if ":" in name:
            name = local_name(name)
        if name == "t":
            self._taking = False
        elif name == "rPh":
            self._in_reading_aid = False
        elif name == "si":
            self._texts.end_text()
            if len(self._texts) >= MOST_SHARED_TEXTS:
                raise self._too_many(f"{MOST_SHARED_TEXTS:,}")

    def text(self, text: str) -> None:
        if self._taking:
            self._texts.add(text)
            if self._texts.bytes_added > self._most_bytes:
                raise self._too_many(f"{self._most_bytes:,} bytes of")

    def _too_many(self, amount: str) -> FileRefused:
        return FileRefused(
            "unzipped-too-big", f"The workbook holds over {amount} different texts. Save the table as CSV."
        )

    def get(self, written: str) -> str:
        """The text of a number as written in a cell; an unknown one is blank."""
        return unescaped(self._texts.get(_integer(written)))


def unescaped(text: str) -> str:
    """Characters that XML cannot hold are written `_x000D_`."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def _integer(written: str | None) -> int:
    return int(written) if written and written.isascii() and written.isdecimal() and len(written) < 10 else 0
