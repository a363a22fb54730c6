"""Reads a workbook in a process of its own, within limits, and writes its rows to stdout as lines of JSON.

Argument: a WorkbookTask as JSON. Lines: `["sheet", name, visible]` before the rows of each sheet, `[number, [cells]]`
for each row, and at last `["end"]`, `["refused", code, detail]` or `["failed", errno]`, as when the disk is full. If
the last line is missing, a limit has killed the process.
"""

import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from services.ingest.reading.containers import Bounded, opened_archive, opened_entry
from services.ingest.reading.formats.workbook.parts import Relations, SharedTexts, Sheet, SheetList, Styles
from services.ingest.reading.formats.workbook.sheet import SheetHandler, SheetRow, sheet_rows
from services.ingest.reading.formats.workbook.xml_events import Handler, parse_all
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused

LEAST_SAMPLE_ROWS: Final = 20
_BATCH_BYTES: Final = 32 * 1024
PartHandler = TypeVar("PartHandler", bound=Handler)


@dataclass(frozen=True, slots=True)
class WorkbookTask:
    """What to read: `sheet` None means a sample of every sheet, `most_rows` in all; rows begin after `after_row`."""

    path: str
    sheet: str | None
    most_rows: int | None
    after_row: int
    limits: dict[str, Any]

    def as_json(self) -> bytes:
        return orjson.dumps(asdict(self))


def main(argument: str) -> None:
    task = WorkbookTask(**orjson.loads(argument))
    limits = Limits(**task.limits)
    resource.setrlimit(resource.RLIMIT_AS, (limits.child_memory_bytes, limits.child_memory_bytes))
    cpu_seconds = limits.child_sample_cpu_seconds if task.sheet is None else limits.child_cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = _Output()
    try:
        _read(task, limits, output)
        output.write(["end"])
    except FileRefused as refused:
        output.write(["refused", refused.code, refused.detail])
    except MemoryError:
        output.write(["refused", "bad-workbook", "Reading it takes too much memory. Save the table as CSV."])
    except OSError as error:
        output.write(["failed", error.errno])
    output.flush()


class _Output:
    """Collects lines and writes them in batches; a reader that is slow makes this process wait."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def write(self, line: list[Any] | tuple[Any, ...]) -> None:
        data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        self._lines.append(data)
        self._bytes += len(data)
        if self._bytes > _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        sys.stdout.buffer.write(b"".join(self._lines))
        sys.stdout.buffer.flush()
        self._lines.clear()
        self._bytes = 0


def _read(task: WorkbookTask, limits: Limits, output: _Output) -> None:
    path = Path(task.path)
    with opened_archive(path) as archive:
        workbook = _Workbook(archive, path.stat().st_size, limits, path.parent)
        wanted = [sheet for sheet in workbook.sheets if task.sheet in (None, sheet.name)]
        wanted = wanted if task.sheet is None else wanted[:1]
        most_rows = None if task.most_rows is None else max(LEAST_SAMPLE_ROWS, task.most_rows // max(1, len(wanted)))
        for sheet in wanted:
            output.write(["sheet", sheet.name, sheet.visible])
            for row in islice(workbook.rows(sheet), most_rows):
                if row[0] > task.after_row:
                    output.write(row)


class _Workbook:
    """The parts of an open workbook; texts and styles are read when it is opened."""

    def __init__(self, archive: zipfile.ZipFile, packed_bytes: int, limits: Limits, folder: Path) -> None:
        self._archive, self._packed_bytes, self._limits = archive, packed_bytes, limits
        self._names = {name.casefold(): name for name in archive.namelist()}
        listed = self._parsed("xl/workbook.xml", SheetList())
        self.sheets, self._from_1904 = listed.sheets, listed.from_1904
        self._parts = self._parsed("xl/_rels/workbook.xml.rels", Relations()).parts
        self._styles = self._parsed("xl/styles.xml", Styles())
        self._texts = self._parsed("xl/sharedStrings.xml", SharedTexts(limits, folder))

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        part = self._parts.get(sheet.relation, "")
        handler = SheetHandler(self._texts, self._styles, self._limits, from_1904=self._from_1904)
        with self._stream(part) as stream:
            if stream is not None:
                yield from sheet_rows(stream, part, handler, self._limits)

    def _parsed(self, part: str, handler: PartHandler) -> PartHandler:
        """Parse a part with a handler. A missing part counts as an empty one."""
        with self._stream(part) as stream:
            if stream is not None:
                parse_all(stream, handler, part)
        return handler

    @contextmanager
    def _stream(self, part: str) -> Iterator[Bounded | None]:
        name = self._names.get(part.casefold())
        if name is None:
            yield None
            return
        with opened_entry(self._archive, self._archive.getinfo(name)) as entry:
            yield Bounded(entry, self._packed_bytes, self._limits)


if __name__ == "__main__":
    main(sys.argv[1])
