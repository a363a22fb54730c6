"""Stores a file's bytes on `upload-files` as they arrive. Refuses a file that cannot be a table before storing it."""

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from schemas.uploads import FileLocation
from services.ingest.chunks import CHUNK_BYTES
from services.ingest.http.sniffing import ADVICE, HEAD_BYTES, binary_kind
from services.ingest.sending import Sender
from services.runtime.partitions import partition_of
from services.runtime.problems import ProblemError

UNACKNOWLEDGED_CHUNKS = 4
"""Most chunks of one file in flight: more are not faster, and each stays in memory until Kafka has it."""


KAFKA_TIMEOUT_SECONDS = 20.0
"""How long Kafka may take for one record. An idempotent producer itself never gives up."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    location: FileLocation
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileStore:
    """The topic that holds files. `permits` bounds the chunks of all uploads in memory.

    `chunk_bytes`: size of a record's value, at most as large as Kafka accepts.
    """

    sender: Sender
    topic: str
    permits: asyncio.Semaphore
    max_file_bytes: int
    chunk_bytes: int = CHUNK_BYTES

    async def partition_of(self, upload_id: str) -> int:
        """The partition of an upload, the same on all topics keyed by upload: they have equally many partitions."""
        return partition_of(upload_id.encode(), len(await self.sender.producer.partitions_for(self.topic)))


class FileWriter:
    """Cuts one file into records, in order, under one attempt's name. Use as `async with`.

    Leaving the block does not wait: the records in flight then belong to a file that is never opened. After Kafka has
    refused a record, later records go through a new producer.
    """

    def __init__(self, file_store: FileStore, upload_id: str) -> None:
        self._file_store = file_store
        self._producer = file_store.sender.producer
        self._key = upload_id.encode()
        self._attempt = secrets.token_hex(8)
        self._hash = sha256()
        self._buffer = bytearray()
        self._bytes = 0
        self._sniffed = False
        self._sent = 0
        self._unacknowledged: deque[asyncio.Future[RecordMetadata]] = deque()
        self._first: RecordMetadata | None = None
        self._last: RecordMetadata | None = None

    async def __aenter__(self) -> "FileWriter":
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for future in self._unacknowledged:
            future.add_done_callback(_forget)
        if isinstance(error, KafkaError):
            # A refused record blocks all later records on its partition, those of other files too.
            await self._file_store.sender.replace(self._producer)
        if isinstance(error, MessageSizeTooLargeError):
            raise _storage_refuses() from None

    async def write(self, data: bytes) -> None:
        """Take more bytes of the file. Returns when the writer can take the next bytes.

        Raises:
            ProblemError: 413 over the size limit, 415 plainly binary.
            KafkaError, TimeoutError: Kafka did not accept a record.
        """
        self._bytes += len(data)
        if self._bytes > self._file_store.max_file_bytes:
            raise too_large(self._file_store.max_file_bytes)
        self._hash.update(data)
        self._buffer += data
        if not self._sniffed and len(self._buffer) >= HEAD_BYTES:
            self._sniff()
        size = self._file_store.chunk_bytes
        while len(self._buffer) >= size:
            await self._send(bytes(self._buffer[:size]))
            del self._buffer[:size]

    async def finish(self) -> StoredFile:
        """Send the rest and wait until Kafka has all of the file.

        Raises:
            ProblemError: 422 empty, 415 plainly binary.
            KafkaError, TimeoutError: Kafka did not accept a record.
        """
        if not self._bytes:
            raise ProblemError(422, "empty-file", "The file is empty", "The file holds no bytes. Upload another one.")
        if not self._sniffed:
            self._sniff()
        if self._buffer:
            await self._send(bytes(self._buffer))
            self._buffer.clear()
        while self._unacknowledged:
            await self._await_oldest()
        assert self._first is not None
        assert self._last is not None
        location = FileLocation(
            partition=self._first.partition,
            first_offset=self._first.offset,
            last_offset=self._last.offset,
            chunks=self._sent,
            attempt=self._attempt,
        )
        return StoredFile(location, self._bytes, self._hash.hexdigest())

    async def _send(self, chunk: bytes) -> None:
        while len(self._unacknowledged) >= UNACKNOWLEDGED_CHUNKS:
            await self._await_oldest()
        headers = [("attempt", self._attempt.encode()), ("seq", str(self._sent).encode())]
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            await self._file_store.permits.acquire()
            try:
                future = await self._producer.send(self._file_store.topic, chunk, key=self._key, headers=headers)
            except BaseException:
                self._file_store.permits.release()
                raise
        future.add_done_callback(lambda _: self._file_store.permits.release())
        self._unacknowledged.append(future)
        self._sent += 1

    async def _await_oldest(self) -> None:
        # Peek first: cancelled here, it stays in the queue for `__aexit__`.
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            metadata = await asyncio.shield(self._unacknowledged[0])
        self._unacknowledged.popleft()
        self._first = self._first or metadata
        self._last = metadata

    def _sniff(self) -> None:
        self._sniffed = True
        kind = binary_kind(bytes(self._buffer[:HEAD_BYTES]))
        if kind is not None:
            advice = ADVICE.get(kind, "Upload CSV, XLSX or JSON Lines, plain or gzipped or zipped.")
            raise ProblemError(415, "not-a-table", "This file cannot hold rows", f"The file is {kind}. {advice}")


def _forget(acknowledgement: "asyncio.Future[RecordMetadata]") -> None:
    """Retrieve the exception of a send that nobody awaits any more, so that asyncio does not report it."""
    if not acknowledgement.cancelled():
        acknowledgement.exception()


def _storage_refuses() -> ProblemError:
    return ProblemError(
        503,
        "storage-not-available",
        "The file could not be stored",
        "The message log refuses records of the size that files are cut into. Tell the operator: Kafka's topics must "
        "accept messages as large as the service found them to accept when it started.",
    )


def too_large(max_file_bytes: int) -> ProblemError:
    """The refusal of a file over the size limit."""
    return ProblemError(
        413,
        "file-too-large",
        "The file is too large",
        f"At most {max_file_bytes} bytes are accepted. Split the file and upload the parts.",
    )
