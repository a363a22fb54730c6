"""Owns the texts that the cells of a workbook share: most of them in a file, a few blocks of it in memory.

A million rows share about 70 MB of texts. Cells read them in an order in which most lie in a block in memory.
"""

import os
import tempfile
from array import array
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

HELD_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of the last texts in memory. Hardly any workbook has more and needs a file."""
_BLOCK_BYTES: Final = 32 * 1024
_BLOCKS: Final = 64


class TextStore:
    """Texts are added piece by piece and read by number. The file has no name and is freed when the process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._held = bytearray()
        # Four bytes suffice: the limit on texts is far below four gigabytes.
        self._ends = array("I", [0])
        self._block = lru_cache(_BLOCKS)(self._read_block)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def bytes_added(self) -> int:
        return self._file_bytes + len(self._held)

    def add(self, piece: str) -> None:
        """Append a piece to the present text."""
        self._held += piece.encode()

    def end_text(self) -> None:
        """The next piece begins another text."""
        self._ends.append(self.bytes_added)
        if len(self._held) > HELD_BYTES:
            self._write_out()

    def get(self, number: int) -> str:
        """The text of a number. An unknown number has a blank text."""
        if number + 1 >= len(self._ends):
            return ""
        start, end = self._ends[number], self._ends[number + 1]
        if start >= self._file_bytes:
            return self._held[start - self._file_bytes : end - self._file_bytes].decode()
        at = start % _BLOCK_BYTES
        if at + end - start <= _BLOCK_BYTES:
            return self._block(start // _BLOCK_BYTES)[at : at + end - start].decode()
        return self._read(start, end - start).decode()

    def close(self) -> None:
        """Free the file. The end of the process frees it too."""
        if self._file is not None:
            self._file.close()

    def _write_out(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - open as long as we live
        written = 0
        while written < len(self._held):
            written += self._file.write(memoryview(self._held)[written:]) or 0
        self._file_bytes += len(self._held)
        self._held = bytearray()
        self._block.cache_clear()

    def _read_block(self, number: int) -> bytes:
        return self._read(number * _BLOCK_BYTES, _BLOCK_BYTES)

    def _read(self, start: int, size: int) -> bytes:
        assert self._file is not None
        return os.pread(self._file.fileno(), size, start)
