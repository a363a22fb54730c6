"""Reads a stored file from end to end, once: detects, counts, previews, and leaves its rows ready to be published.

It runs in a child process, so that a hostile or huge file can neither stop the feeder's heartbeats nor fill its memory.
"""

import errno
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from schemas.base import Message
from schemas.codec import decode, encode
from schemas.uploads import (
    ColumnProfile,
    Detected,
    FileCounts,
    Preview,
    PreviewRow,
    UploadOptions,
)
from services.ingest import reading
from services.ingest.distinct import DistinctPhones
from services.ingest.prepared import PreparedWriter, RowTooLong

PREVIEW_ROWS = 20
_PREVIEW_COLUMNS = 100
_PREVIEW_CELL_CHARACTERS = 200
_PREVIEW_BYTES = 200_000
EXIT_NO_ROOM = 75
"""`os.EX_TEMPFAIL`: the spool's disk is full; the file is not to blame."""


class Task(Message):
    """What is to be read: `path`; where to leave it: `folder`; `detected` if it was read before and must not change."""

    path: str
    folder: str
    options: UploadOptions
    region: str
    max_rows: int
    detected: Detected | None = None


class Refusal(Message):
    """Why the file cannot be processed."""

    code: str
    title: str
    detail: str


class Prepared(Message):
    """What the reading came to: either a refusal, or all the rest."""

    refusal: Refusal | None = None
    detected: Detected | None = None
    counts: FileCounts | None = None
    preview: Preview = Preview()


def outcome_path(folder: Path) -> Path:
    return folder / "outcome.json"


def phones_path(folder: Path) -> Path:
    return folder / "phones"


def run(task_json: bytes) -> None:
    """The child's whole work. Nothing escapes: an unforeseen error becomes a refusal that names its place in code."""
    task = decode(Task, task_json)
    folder = Path(task.folder)
    try:
        prepared = prepare(task)
    except reading.Refused as refused:
        prepared = Prepared(refusal=Refusal(code=refused.code, title=refused.title, detail=refused.detail))
    except RowTooLong:
        prepared = Prepared(refusal=_ROW_TOO_LONG)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(EXIT_NO_ROOM)
        prepared = Prepared(refusal=_unforeseen(error))
    except Exception as error:
        prepared = Prepared(refusal=_unforeseen(error))
    temporary = folder / "outcome.part"
    temporary.write_bytes(encode(prepared))
    temporary.rename(outcome_path(folder))


def prepare(task: Task) -> Prepared:
    """Detects (unless told what the file is) and reads every row.

    Raises:
        reading.Refused: the file cannot be processed.
        RowTooLong: a row does not fit into a record.
    """
    path, folder = Path(task.path), Path(task.folder)
    limits = reading.Limits(max_rows=task.max_rows)
    if task.detected is None:
        detected = reading.detect(path, _read_options(task), limits)
    else:
        detected = reading.Detected.from_dict(task.detected.model_dump())
    pass_ = _Pass(detected, PreparedWriter(folder))
    for source_row in reading.read_rows(path, detected, limits):
        pass_.take(source_row)
    pass_.writer.close()
    distinct = pass_.phones.write(phones_path(folder))
    return Prepared(
        detected=Detected.model_validate(detected.to_dict() | {"width": max(pass_.width, len(detected.columns))}),
        counts=FileCounts(
            rows=pass_.writer.rows,
            with_phone=pass_.writer.rows - pass_.problems["no_phone"],
            usable=pass_.usable,
            split=pass_.split,
            distinct=distinct,
        ),
        preview=_bounded(_profiles(detected), pass_.first_rows, dict(pass_.problems)),
    )


@dataclass(slots=True)
class _Pass:
    """What one reading of the rows adds up."""

    detected: reading.Detected
    writer: PreparedWriter
    phones: DistinctPhones = field(default_factory=DistinctPhones)
    problems: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    split: int = 0
    width: int = 0
    first_rows: list[PreviewRow] = field(default_factory=list)

    def take(self, source: reading.SourceRow) -> None:
        row, line, cells = source
        self.width = max(self.width, len(cells))
        found = reading.find_phone(cells, self.detected)
        if isinstance(found, reading.Found):
            phone, problem = found.phone, None
            self.writer.usable(row=row, line=line, cells=cells, phone=phone)
            self.phones.add(phone)
            self.usable += 1
            self.split += found.split
        else:
            phone, problem = None, found.code
            self.problems[problem] += 1
            self.writer.rejected(row=row, line=line, cells=cells, error=_error(found, self.detected))
        if len(self.first_rows) < PREVIEW_ROWS:
            self.first_rows.append(PreviewRow(row=row, line=line, cells=_cut(cells), phone=phone, problem=problem))


def _error(unusable: reading.Unusable, detected: reading.Detected) -> dict[str, str | None]:
    return {
        "code": unusable.code,
        "column": detected.column_name(unusable.column),
        "value": unusable.value[:_PREVIEW_CELL_CHARACTERS],
        "detail": unusable.detail,
    }


def _read_options(task: Task) -> reading.ReadOptions:
    options = task.options
    return reading.ReadOptions(
        phone_columns=options.phone_columns,
        area_column=options.area_column,
        region=options.region or task.region,
        sheet=options.sheet,
        header=options.header,
        encoding=options.encoding,
        delimiter=options.delimiter,
    )


def _profiles(detected: reading.Detected) -> tuple[ColumnProfile, ...]:
    return tuple(
        ColumnProfile(
            index=profile.index,
            header=None if profile.header is None else profile.header[:_PREVIEW_CELL_CHARACTERS],
            samples=_cut(profile.samples),
            phone_share=profile.phone_share,
        )
        for profile in detected.profiles[:_PREVIEW_COLUMNS]
    )


def _bounded(profiles: tuple[ColumnProfile, ...], rows: list[PreviewRow], problems: dict[str, int]) -> Preview:
    """The preview, with fewer rows and columns if they would make the event too big for a record."""
    preview = Preview(columns=profiles, rows=tuple(rows), problems=problems)
    while len(encode(preview)) > _PREVIEW_BYTES:
        if preview.rows:
            preview = preview.model_copy(update={"rows": preview.rows[: len(preview.rows) // 2]})
        else:
            preview = preview.model_copy(update={"columns": preview.columns[: len(preview.columns) // 2]})
    return preview


def _cut(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell[:_PREVIEW_CELL_CHARACTERS] for cell in cells[:_PREVIEW_COLUMNS])


_ROW_TOO_LONG = Refusal(
    code="line-too-long", title="A line is too long", detail="One row of the file is longer than a record may be."
)


def _unforeseen(error: Exception) -> Refusal:
    # Only the place and the kind: an exception's text may hold cells.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    return Refusal(
        code="reading-failed",
        title="The file could not be read",
        detail=f"Reading the file failed in a way that was not foreseen ({place}). Please report it with the file.",
    )
