"""Owns the spool format of a parsed file: its rows as prepared record values, so that feeding parses nothing again.

`rows` holds one entry after another: body length, partition hash, phone length (0 for a rejected row), the phone, the
body. A body is the tail of a JSON object, from `"row":` to the closing brace. The fields that all rows of an upload
share are put before it when the row is published. `marks` holds the position of every 1,024th entry.
"""

import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from services.runtime.partitions import partition_hash

_HEAD = struct.Struct("<IIB")
_ROWS_PER_MARK = 1024
_BLOCK_BYTES = 512 * 1024
TAKEN_BYTES = 8 * 1024 * 1024
"""Most bytes of one turn. Otherwise thousands of rows of a megabyte each could be in memory."""
MOST_BODY_BYTES = 960_000
"""The fields before a body take less than 2,000 bytes, so a row is always below `MAX_VALUE_BYTES`, also when it
is published again."""


class PreparedRow(NamedTuple):
    """A row ready for publishing. `phone` is empty for a rejected row. `hash` chooses the partition of a usable row."""

    phone: bytes
    hash: int
    body: bytes


class RowTooLong(Exception):
    """A row's record would not fit into Kafka's limit."""


class PreparedWriter:
    """Writes the rows of one file in order. Use as `with`. After an error the files are incomplete."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "rows").open("wb", buffering=_BLOCK_BYTES)
        self._folder = folder
        self._marks = array("Q")
        self._position = 0
        self.rows = 0
        self.text_bytes = 0
        """Bytes of all cells so far, as JSON: their size in each record and in each table."""

    def usable(self, *, row: int, line: int, cells: tuple[str, ...], phone: str) -> None:
        """Adds a row with a phone. Raises RowTooLong."""
        key = phone.encode()
        text = self._text(cells)
        self._put(key, partition_hash(key), b'"row":%d,"line":%d,"cells":%b}' % (row, line, text))

    def rejected(self, *, row: int, line: int, cells: tuple[str, ...], error: dict[str, str | None]) -> None:
        """Adds a row without one. Raises RowTooLong."""
        tail = b'"row":%d,"line":%d,"cells":%b,"error":%b}'
        self._put(b"", 0, tail % (row, line, self._text(cells), orjson.dumps(error)))

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):  # the close writes the rest of the buffer
                self._file.close()
            return
        self._file.close()
        (self._folder / "marks").write_bytes(self._marks.tobytes())

    def _text(self, cells: tuple[str, ...]) -> bytes:
        text = orjson.dumps(cells)
        self.text_bytes += len(text)
        return text

    def _put(self, key: bytes, hash_: int, body: bytes) -> None:
        if len(body) > MOST_BODY_BYTES:
            raise RowTooLong
        if self.rows % _ROWS_PER_MARK == 0:
            self._marks.append(self._position)
        self._file.write(_HEAD.pack(len(body), hash_, len(key)) + key + body)
        self._position += _HEAD.size + len(key) + len(body)
        self.rows += 1


@dataclass(slots=True)
class PreparedReader:
    """Reads rows in order from any row on. It holds no open file between two turns, so thousands may wait."""

    folder: Path
    next_row: int = 1
    _position: int = 0

    def __post_init__(self) -> None:
        wanted, self.next_row = self.next_row, 1
        self._seek(wanted)

    def take(self, count: int) -> list[PreparedRow]:
        """The next rows: at most `count`, and about `TAKEN_BYTES` together. Empty only at the end."""
        rows: list[PreparedRow] = []
        with (self.folder / "rows").open("rb", buffering=_BLOCK_BYTES) as file:
            begin = file.seek(self._position)
            while len(rows) < count and file.tell() - begin < TAKEN_BYTES and (head := file.read(_HEAD.size)):
                body_bytes, hash_, key_bytes = _HEAD.unpack(head)
                rows.append(PreparedRow(file.read(key_bytes), hash_, file.read(body_bytes)))
            self._position = file.tell()
        self.next_row += len(rows)
        return rows

    def _seek(self, row: int) -> None:
        marks = array("Q", (self.folder / "marks").read_bytes())
        if not marks:
            return
        mark = min((row - 1) // _ROWS_PER_MARK, len(marks) - 1)
        self._position = marks[mark]
        self.next_row = mark * _ROWS_PER_MARK + 1
        while self.next_row < row and self.take(min(row - self.next_row, _ROWS_PER_MARK)):
            pass
