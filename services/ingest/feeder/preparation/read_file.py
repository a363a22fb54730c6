"""Reads a stored file once from end to end: detects its layout, counts and previews its rows, and prepares them.

It runs in a child process, so that a hostile or huge file can neither stop the feeder's heartbeats nor fill its memory.
Nothing here imports pydantic, which takes 10 MB in each child and in the process that they are forked from. The outcome
has the shape of `outcome.ReaderOutcome`, and the feeder validates it.
"""

import errno
import sys
import traceback
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.ingest import reading
from services.ingest.feeder.preparation.distinct_phones import DistinctPhones
from services.ingest.feeder.preparation.row_file import PreparedWriter, RowTooLong
from services.ingest.reading.formats import detect, read_rows

PREVIEW_ROWS = 20
_PREVIEW_COLUMNS = 100
_PREVIEW_CELL_CHARACTERS = 200
_PREVIEW_BYTES = 200_000
_DETAIL_CHARACTERS = 2_000
"""As many as `schemas.values.Sentence` takes."""
EXIT_DISK_FULL = 75
"""`os.EX_TEMPFAIL`: the spool's disk is full; the file is not to blame."""


@dataclass(frozen=True, slots=True)
class ReadTask:
    """`path` is the file to read. Its rows and outcome go to `folder`. `detected`: the layout of an earlier reading."""

    path: str
    folder: str
    options: reading.ReadOptions
    max_rows: int
    max_text_bytes: int
    detected: dict[str, Any] | None = None

    def as_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, written: bytes) -> "ReadTask":
        values = orjson.loads(written)
        options = values.pop("options")
        options["phone_columns"] = tuple(options["phone_columns"])
        return cls(**values, options=reading.ReadOptions(**options))


def outcome_path(folder: Path) -> Path:
    return folder / "outcome.json"


def phones_path(folder: Path) -> Path:
    return folder / "phones"


def run(task_json: bytes) -> None:
    """Do all the work of the child process. An unforeseen error becomes a refusal that names its place in the code."""
    task = ReadTask.from_json(task_json)
    folder = Path(task.folder)
    try:
        _leave(_outcome(task), folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(EXIT_DISK_FULL)
        _leave(_unforeseen(error), folder)
    except Exception as error:
        _leave(_unforeseen(error), folder)


def _outcome(task: ReadTask) -> dict[str, Any]:
    try:
        return prepare(task)
    except reading.FileRefused as refused:
        return _refusal(refused.code, refused.title, refused.detail)
    except RowTooLong:
        detail = "One row of the file is longer than a record may be. Upload only the columns that you need."
        return _refusal("line-too-long", "A line is too long", detail)


def _leave(outcome: dict[str, Any], folder: Path) -> None:
    temporary = folder / "outcome.part"
    temporary.write_bytes(orjson.dumps(outcome))
    temporary.rename(outcome_path(folder))


def prepare(task: ReadTask) -> dict[str, Any]:
    """Detect the layout, unless it is given, and read every row.

    Raises:
        reading.FileRefused: the file cannot be processed.
        RowTooLong: a row does not fit into a record.
    """
    path, folder = Path(task.path), Path(task.folder)
    limits = reading.Limits(max_rows=task.max_rows, max_text_bytes=task.max_text_bytes)
    if task.detected is None:
        detected = detect(path, task.options, limits)
    else:
        detected = reading.FileLayout.from_dict(task.detected)
    rows = read_rows(path, detected, limits)
    with PreparedWriter(folder) as writer, closing(rows):
        pass_ = _Pass(detected, writer, limits)
        for source_row in rows:
            pass_.take(source_row)
    distinct = pass_.phones.write(phones_path(folder))
    return {
        "detected": detected.to_dict() | {"width": max(pass_.width, len(detected.columns))},
        "counts": {
            "rows": pass_.writer.rows,
            "with_phone": pass_.writer.rows - pass_.problems["no_phone"],
            "usable": pass_.usable,
            "split": pass_.split,
            "distinct": distinct,
        },
        "preview": _bounded(_profiles(detected), pass_.first_rows, dict(pass_.problems)),
    }


@dataclass(slots=True)
class _Pass:
    """The sums and the preview of one pass over the rows."""

    detected: reading.FileLayout
    writer: PreparedWriter
    limits: reading.Limits
    phones: DistinctPhones = field(default_factory=DistinctPhones)
    problems: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    split: int = 0
    width: int = 0
    first_rows: list[dict[str, Any]] = field(default_factory=list)

    def take(self, source: reading.SourceRow) -> None:
        row, line, cells = source
        self.width = max(self.width, len(cells))
        found = reading.find_phone(cells, self.detected)
        if isinstance(found, reading.FoundPhone):
            phone, problem = found.phone, None
            self.writer.usable(row=row, line=line, cells=cells, phone=phone)
            self.phones.add(phone)
            self.usable += 1
            self.split += found.split
        else:
            phone, problem = None, found.code
            self.problems[problem] += 1
            self.writer.rejected(row=row, line=line, cells=cells, error=_error(found, self.detected))
        if self.writer.text_bytes > self.limits.max_text_bytes:
            raise _too_much_text(source, self.limits)
        if len(self.first_rows) < PREVIEW_ROWS:
            shown = {"row": row, "line": line, "cells": _cut(cells), "phone": phone, "problem": problem}
            self.first_rows.append(shown)


def _too_much_text(source: reading.SourceRow, limits: reading.Limits) -> reading.FileRefused:
    return reading.FileRefused(
        "too-much-text",
        f"Up to line {source.line:,} the cells hold more than {limits.max_text_bytes:,} bytes of text, far more than "
        "the file has: the same texts stand in many cells, or many cells are blank. Upload only the columns that you "
        "need, or split the file.",
    )


def _error(unusable: reading.Unusable, detected: reading.FileLayout) -> dict[str, str | None]:
    return {
        "code": unusable.code,
        "column": detected.column_name(unusable.column),
        "value": unusable.value[:_PREVIEW_CELL_CHARACTERS],
        "detail": unusable.detail,
    }


def _profiles(detected: reading.FileLayout) -> list[dict[str, Any]]:
    return [
        {
            "index": profile.index,
            "header": None if profile.header is None else profile.header[:_PREVIEW_CELL_CHARACTERS],
            "samples": _cut(profile.samples),
            "phone_share": profile.phone_share,
        }
        for profile in detected.profiles[:_PREVIEW_COLUMNS]
    ]


def _bounded(columns: list[dict[str, Any]], rows: list[dict[str, Any]], problems: dict[str, int]) -> dict[str, Any]:
    """The preview, with fewer rows and columns if they would make the event too big for a record."""
    preview = {"columns": columns, "rows": rows, "problems": problems}
    while len(orjson.dumps(preview)) > _PREVIEW_BYTES:
        too_many = rows or columns
        del too_many[len(too_many) // 2 :]
    return preview


def _cut(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell[:_PREVIEW_CELL_CHARACTERS] for cell in cells[:_PREVIEW_COLUMNS])


def _refusal(code: str, title: str, detail: str) -> dict[str, Any]:
    # It may quote the file: names of columns, of sheets, of parts of an archive.
    shown = detail.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    shown = shown if len(shown) <= _DETAIL_CHARACTERS else f"{shown[: _DETAIL_CHARACTERS - 1]}…"
    return {"refusal": {"code": code, "title": title, "detail": shown}}


def _unforeseen(error: Exception) -> dict[str, Any]:
    # Only the place and the type: an exception's text may hold cells.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    detail = f"Reading the file failed in a way that was not foreseen ({place}). Please report it with the file."
    return _refusal("reading-failed", "The file could not be read", detail)
