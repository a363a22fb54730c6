"""Owns the spool format of a parsed file: its rows as ready-made record values, so that feeding parses nothing again.

`rows` holds one entry after another: body length, partition hash, phone length (0 for a rejected row), the phone, the
body. A body is the tail of a JSON object, from `"row":` to the closing brace; what all rows of an upload have in
common is put before it when the row is published. `marks` holds the position of every 1,024th entry.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from services.ingest.partitioning import partition_hash

_HEAD = struct.Struct("<IIB")
_ROWS_PER_MARK = 1024
_BLOCK_BYTES = 512 * 1024
MOST_BODY_BYTES = 960_000


class PreparedRow(NamedTuple):
    """A row ready to go. `phone` is empty for a rejected row; `hash` chooses the partition of a usable one."""

    phone: bytes
    hash: int
    body: bytes


class RowTooLong(Exception):
    """A row's record would not fit into Kafka's limit."""


class PreparedWriter:
    """Writes the rows of one file, in order."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "rows").open("wb", buffering=_BLOCK_BYTES)
        self._folder = folder
        self._marks = array("Q")
        self._position = 0
        self.rows = 0

    def usable(self, *, row: int, line: int, cells: tuple[str, ...], phone: str) -> None:
        """Adds a row with a phone. Raises RowTooLong."""
        key = phone.encode()
        self._put(key, partition_hash(key), b'"row":%d,"line":%d,"cells":%b}' % (row, line, orjson.dumps(cells)))

    def rejected(self, *, row: int, line: int, cells: tuple[str, ...], error: dict[str, str | None]) -> None:
        """Adds a row without one. Raises RowTooLong."""
        tail = b'"row":%d,"line":%d,"cells":%b,"error":%b}'
        self._put(b"", 0, tail % (row, line, orjson.dumps(cells), orjson.dumps(error)))

    def close(self) -> None:
        self._file.close()
        (self._folder / "marks").write_bytes(self._marks.tobytes())

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
    """Reads rows in order from any row on; never more than a block is in memory."""

    folder: Path
    next_row: int = 1
    _descriptor: int = -1
    _position: int = 0
    _block: bytes = b""
    _at: int = 0

    def __post_init__(self) -> None:
        self._descriptor = os.open(self.folder / "rows", os.O_RDONLY)
        wanted, self.next_row = self.next_row, 1
        self._seek(wanted)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def take(self, count: int) -> Iterator[PreparedRow]:
        """The next rows, at most `count`; fewer only at the end."""
        head = _HEAD.size
        for _ in range(count):
            if not self._has(head):
                return
            body_bytes, hash_, key_bytes = _HEAD.unpack_from(self._block, self._at)
            self._has(head + key_bytes + body_bytes)
            key_at = self._at + head
            body_at = key_at + key_bytes
            self._at = body_at + body_bytes
            self.next_row += 1
            yield PreparedRow(self._block[key_at:body_at], hash_, self._block[body_at : self._at])

    def _has(self, wanted_bytes: int) -> bool:
        """Whether so many bytes are at hand; reads on if not."""
        while len(self._block) - self._at < wanted_bytes:
            more = os.pread(self._descriptor, max(_BLOCK_BYTES, wanted_bytes), self._position)
            if not more:
                return False
            self._position += len(more)
            self._block = self._block[self._at :] + more
            self._at = 0
        return True

    def _seek(self, row: int) -> None:
        marks = array("Q", (self.folder / "marks").read_bytes())
        if not marks:
            return
        mark = min((row - 1) // _ROWS_PER_MARK, len(marks) - 1)
        self._position = marks[mark]
        self.next_row = mark * _ROWS_PER_MARK + 1
        for _ in self.take(row - self.next_row):
            pass
