"""Parses JSON Lines: objects become rows by key, arrays by position. A broken line becomes a row with one cell."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.ingest.reading.formats.delimited import too_many_columns
from services.ingest.reading.headers import HeaderSize
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.text import Lines, LineTooLong

_LITERALS: Final = {None: "", True: "true", False: "false"}
_LONGEST_INTEGER_CHARS: Final = 4000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

JsonRecord = tuple[int, Any]
"""The number of the line from 1, and its value: `Broken` if the line is not JSON."""


class Broken(str):
    """A line that is not JSON."""

    __slots__ = ()


class _Float(float):
    """A number that remembers how it was written."""

    def __init__(self, written: str) -> None:
        self.written = written


def _integer(written: str) -> int | str:
    return int(written) if len(written) <= _LONGEST_INTEGER_CHARS else written


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_Float, parse_constant=str)


def looks_like_json_lines(text: str, limits: Limits) -> bool:
    """Whether the first lines are JSON objects or arrays. Raises FileRefused for a JSON document over several lines.

    A first line that is too long may be cut, so it cannot be judged by parsing it: `values` refuses it for its length.
    """
    start = text.lstrip()
    if not start.startswith(("{", "[")):
        return False
    if len(start.partition("\n")[0]) > limits.max_line_chars and start.startswith(('{"', '["')):
        return True
    lines = [line for line in text.split("\n")[:50] if line.strip()]
    if len(lines) > 1 and len(text.split("\n")) <= 50 and not text.endswith("\n"):
        lines = lines[:-1] if _parsed(lines[-1]) is None else lines
    good = sum(isinstance(_parsed(line), (dict, list)) for line in lines)
    if good >= max(1, 0.5 * len(lines)) and not _is_one_document(lines):
        return True
    if start.startswith(("[{", "[\n", "[ ", "{\n", "{ ", '{"', "[\r", "{\r")) and '"' in start:
        raise FileRefused(
            "not-json-lines", "This is one JSON document. Write one object per line, with no list around them."
        )
    return False


def _is_one_document(lines: Sequence[str]) -> bool:
    """A single line that is a list of objects."""
    value = _parsed(lines[0]) if len(lines) == 1 else None
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def values(chunks: Iterator[str], limits: Limits) -> Iterator[JsonRecord]:
    """Yield the value of each line that is not blank. Numbers keep their text.

    Raises FileRefused: `line-too-long`, `too-many-columns` for a list.
    """
    number = 0
    try:
        for number, line in enumerate(lines := Lines(chunks, limits), 1):
            lines.records = number
            if text := line.strip():
                value = _parsed(text)
                if isinstance(value, list) and len(value) > limits.max_columns:
                    raise too_many_columns(number, len(value), limits)
                yield number, Broken(line.rstrip("\r\n")) if value is None and text != "null" else value
    except LineTooLong as problem:
        detail = f"Line {number + 1} is longer than {limits.max_line_chars:,} characters. Put less into an object."
        raise FileRefused("line-too-long", detail) from problem


def keys_of(records: Iterator[JsonRecord], limits: Limits) -> tuple[str, ...]:
    """The keys of all objects in the order of their first appearance.

    Raises FileRefused: `too-many-columns`, `header-too-long`, as soon as it is so.
    """
    keys: dict[str, None] = {}
    size = HeaderSize(limits)
    for line, value in records:
        if isinstance(value, dict) and not value.keys() <= keys.keys():
            for key in map(_storable, value):
                if key not in keys:
                    keys[key] = None
                    size.add(key, f"An object in line {line}")
            if len(keys) > limits.max_columns:
                detail = f"Up to line {line} the objects have more than {limits.max_columns:,} keys."
                raise FileRefused("too-many-columns", detail)
    return tuple(keys)


def places_of(keys: Sequence[str]) -> Mapping[str, int]:
    """The column of each key."""
    return {key: column for column, key in enumerate(keys)}


def cells_of(value: Any, places: Mapping[str, int], width: int) -> tuple[str, ...]:
    """A value as cells: an object's values by key, an array's items, anything else as one cell.

    An object has cells up to its last key's column, and at least `width`.
    """
    if isinstance(value, dict):
        return _object_cells(value, places, width)
    if isinstance(value, list):
        return tuple(map(as_cell, value))
    return (as_cell(value),)


def _object_cells(value: dict[str, Any], places: Mapping[str, int], width: int) -> tuple[str, ...]:
    placed = [(places.get(key), item) for key, item in value.items()]
    if any(column is None for column, _ in placed):
        placed = [(places.get(_storable(key)), item) for key, item in value.items()]
    found = [(column, item) for column, item in placed if column is not None]
    cells = [""] * max(width, *(column + 1 for column, _ in found), 0)
    for column, item in found:
        cells[column] = as_cell(item)
    return tuple(cells)


def as_cell(value: Any) -> str:
    """Convert a value to a cell: texts unchanged, numbers as written, null as blank, nested values as compact JSON."""
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, bool):
        return _LITERALS[value]
    if isinstance(value, _Float):
        return value.written
    return _storable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _storable(text: str) -> str:
    """Restore the escape of a lone surrogate: JSON can escape it, but UTF-8 cannot store it."""
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _parsed(text: str) -> Any:
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return None
