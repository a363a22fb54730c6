"""Opens the bytes of a stored file: plain, gzip, or a zip of one file. Never reads more than the limits allow."""

import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from services.ingest.reading.model import MIB, Container, Limits
from services.ingest.reading.refusals import FileRefused

CHUNK_BYTES = 128 * 1024
_ADDED = re.compile(r"^__MACOSX/|(?:^|/)\.DS_Store$")
LARGEST_SINGLE_READ_BYTES = 1 * MIB
"""`zipfile` reads an archive's directory in one go; a megabyte lists more than ten thousand files."""

_READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, struct.error)


class ByteStream(Protocol):
    """Bytes in order. `read` gives between 1 and `size` bytes, or b"" at the end. Raises FileRefused."""

    def read(self, size: int, /) -> bytes: ...


@contextmanager
def open_bytes(path: Path, container: Container, limits: Limits) -> Iterator[ByteStream]:
    """Open the content of a file within its container."""
    with path.open("rb") as file:
        if container == "plain":
            yield file
        elif container == "gzip":
            yield Bounded(_Gunzip(file), path.stat().st_size, limits)
        else:
            with opened_archive(path) as archive, opened_entry(archive, single_file(archive)) as inner:
                yield Bounded(inner, path.stat().st_size, limits)


@contextmanager
def unpacked(path: Path, container: Container, limits: Limits) -> Iterator[Path]:
    """The path of the content: the file itself, or a temporary file beside it, for readers that must seek."""
    if container == "plain":
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".unpacked") as target:
        with open_bytes(path, container, limits) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                target.write(chunk)
        target.flush()
        yield Path(target.name)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive. Refuses one with a very large directory."""
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(_SmallReads(file))
        except _DAMAGES as error:
            raise _damaged(error) from error
        with archive:
            yield archive


def single_file(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file of an archive, without folders and the files that macOS adds."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _ADDED.search(entry.filename)]
    if len(entries) != 1:
        raise FileRefused("bad-archive", f"The zip holds {len(entries)} files. Upload a zip of one, or each by itself.")
    return entries[0]


def opened_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """Open a file of the archive. Refuses a password and any method that needs a huge dictionary."""
    if entry.flag_bits & 0x1:
        raise FileRefused("bad-archive", "The zip is protected by a password. Upload it without one.")
    if entry.compress_type not in _READABLE_METHODS:
        raise FileRefused("bad-archive", "The zip uses a rare way of packing. Pack it with the usual one (deflate).")
    try:
        return archive.open(entry)
    except _DAMAGES as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> FileRefused:
    return FileRefused("bad-archive", f"The archive is damaged ({error}). Pack it again, or upload it unpacked.")


class Bounded:
    """A stream that ends with FileRefused when it gives more than the limits allow for the packed size."""

    def __init__(self, inner: ByteStream, packed_bytes: int, limits: Limits) -> None:
        self._inner = inner
        self._limits = limits
        self._allowed = min(limits.max_unzipped_bytes, max(limits.ratio_free_bytes, packed_bytes * limits.max_ratio))
        self.bytes_given = 0

    def read(self, size: int, /) -> bytes:
        try:
            data = self._inner.read(size)
        except _DAMAGES as error:
            raise _damaged(error) from error
        self.bytes_given += len(data)
        if self.bytes_given > self._allowed:
            raise FileRefused(
                "unzipped-too-big",
                f"Unpacked it is more than {self._allowed:,} bytes (at most {self._limits.max_unzipped_bytes:,} bytes, "
                f"and at most {self._limits.max_ratio} times its packed size). Split it into several files.",
            )
        return data


class _Gunzip:
    """Reads the members of a gzip file in bounded chunks. Python's `gzip` reads headers byte by byte."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(wbits=31)
        self._pending = b""

    def read(self, size: int, /) -> bytes:
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            self._pending = self._pending or self._file.read(CHUNK_BYTES)
            if not self._pending:
                raise FileRefused("bad-archive", "The gzip file ends too early. Pack or upload it again.")
            if data := self._inflate(size):
                return data

    def _inflate(self, size: int) -> bytes:
        try:
            data = self._inflater.decompress(self._pending, size)
        except zlib.error as error:
            raise FileRefused("bad-archive", f"The gzip file is damaged ({error}). Pack or upload it again.") from error
        self._pending = self._inflater.unconsumed_tail or self._inflater.unused_data
        return data

    def _next_member(self) -> bool:
        """Zeros and anything else after the last member are padding."""
        rest = self._pending or self._file.read(CHUNK_BYTES)
        if not rest.startswith(b"\x1f"):
            return False
        self._pending = rest
        self._inflater = zlib.decompressobj(wbits=31)
        return True


class _SmallReads:
    """A seekable file that refuses a very large single read: only a forged zip directory causes one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(LARGEST_SINGLE_READ_BYTES + 1 if size < 0 else min(size, LARGEST_SINGLE_READ_BYTES + 1))
        if len(data) > LARGEST_SINGLE_READ_BYTES:
            raise FileRefused("bad-archive", "The zip lists too many files. Upload a zip of one file, or unpack it.")
        return data
