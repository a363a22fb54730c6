"""Receives one upload: stores the body, checks the options, recognises a repeated key, writes `UploadOpened` last."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from starlette.requests import Request

from schemas import topics
from schemas.codec import encode
from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.interface import ErrorItem
from schemas.settings import Settings
from schemas.upload_events import UploadOpened
from schemas.uploads import UploadOptions
from services.ingest.http.bodies import (
    BodyEvent,
    FieldRead,
    FileBegan,
    FileData,
    UnreadableBody,
    form_events,
    raw_events,
)
from services.ingest.http.filenames import LONGEST_DISPOSITION_CHARACTERS, NAMELESS, name_in_disposition
from services.ingest.http.opened_log import OpenedLog
from services.ingest.http.options import WrongOptions, read_options
from services.ingest.http.storing import KAFKA_TIMEOUT_SECONDS, FileStore, FileWriter, StoredFile, too_large
from services.runtime.kafka import topic_name
from services.runtime.problems import ProblemError

LONGEST_KEY = 255
_MOST_LENGTH_DIGITS = 18
_FORM_OVERHEAD_BYTES = 1_000_000
"""Most bytes that boundaries, headers and fields may add to a form's Content-Length."""


@dataclass(frozen=True, slots=True)
class Received:
    """The upload that a request led to. `repeated`: an earlier request with the same key had opened it."""

    opened: UploadOpened
    repeated: bool


@dataclass(slots=True)
class _Parts:
    """The file's name and the form fields of a body."""

    name: str = NAMELESS
    fields: list[tuple[str, str]] = field(default_factory=list)
    has_file: bool = False


@dataclass(frozen=True, slots=True)
class UploadReceiver:
    """Receives uploads. `opened_log` recognises repeated requests."""

    settings: Settings
    file_store: FileStore
    opened_log: OpenedLog

    async def receive(self, request: Request, *, owner: str) -> Received:
        """Store the request's file and open its upload.

        1. The file is stored, chunk by chunk, each acknowledged by Kafka.
        2. `UploadOpened` is written and acknowledged. From now on the upload exists.
        3. With an `Idempotency-Key`, the log is read to that record. The first `UploadOpened` of the id wins.

        Raises:
            ProblemError: the request is refused.
            KafkaError, TimeoutError: Kafka did not accept a record, or did not answer.
            ClientDisconnect: the client disconnected; no upload was opened.
        """
        self._refuse_by_length(request)
        query = list(request.query_params.multi_items())
        _options(query)  # wrong options are refused before the body is read
        key = _idempotency_key(request)
        if key is None:
            upload_id = new_upload_id(now_ms=int(datetime.now(UTC).timestamp() * 1000))
            return Received(await self._store_and_open(request, query, upload_id, owner), repeated=False)
        return await self._receive_once(request, query, idempotent_upload_id(owner, key), owner)

    async def _receive_once(
        self, request: Request, query: list[tuple[str, str]], upload_id: str, owner: str
    ) -> Received:
        """Store the file of a request with a key, unless the log holds an upload with that key."""
        partition = await self.file_store.partition_of(upload_id)
        earlier = await self.opened_log.first(upload_id, partition=partition)
        if earlier is not None:
            return await self._repeat(request, query, earlier)
        opened = await self._store_and_open(request, query, upload_id, owner)
        # 3. The log decides which request was first.
        first = await self.opened_log.first(upload_id, partition=partition)
        if first is None or first == opened:
            return Received(opened, repeated=False)
        _refuse_other_content(first, sha256=opened.sha256, options=opened.options)
        return Received(first, repeated=True)

    async def _store_and_open(
        self, request: Request, query: list[tuple[str, str]], upload_id: str, owner: str
    ) -> UploadOpened:
        self._refuse_by_number(owner)
        parts = _Parts()
        # 1. The file.
        async with FileWriter(self.file_store, upload_id) as writer:
            async for data in _file_data(request, parts):
                await writer.write(data)
            options = _options(query + parts.fields)
            stored = await writer.finish()
        # 2. `UploadOpened`.
        opened = _opened(upload_id, owner, parts.name, options, stored)
        topic = topic_name(topics.UPLOAD_EVENTS, self.settings)
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            await self.file_store.sender.send(topic, encode(opened), key=upload_id.encode())
        return opened

    async def _repeat(self, request: Request, query: list[tuple[str, str]], earlier: UploadOpened) -> Received:
        """Read the body to its end, so that the client can read the answer. Store nothing."""
        parts = _Parts()
        digest = sha256()
        size_bytes = 0
        async for data in _file_data(request, parts):
            digest.update(data)
            size_bytes += len(data)
            if size_bytes > self.settings.max_file_bytes:
                raise too_large(self.settings.max_file_bytes)
        _refuse_other_content(earlier, sha256=digest.hexdigest(), options=_options(query + parts.fields))
        return Received(earlier, repeated=True)

    def _refuse_by_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        most_bytes = self.settings.max_file_bytes + _FORM_OVERHEAD_BYTES
        if length.isascii() and length.isdecimal() and (len(length) > _MOST_LENGTH_DIGITS or int(length) > most_bytes):
            raise too_large(self.settings.max_file_bytes)

    def _refuse_by_number(self, owner: str) -> None:
        most = self.settings.max_open_uploads
        if self.opened_log.unfinished(owner) >= most:
            raise ProblemError(
                429,
                "too-many-open-uploads",
                "Too many uploads are unfinished",
                f"At most {most} unfinished uploads are accepted. Wait until one is finished, or stop or delete some.",
                headers={"Retry-After": "60"},
            )


async def _file_data(request: Request, parts: _Parts) -> AsyncIterator[bytes]:
    """Yield the file's bytes and collect its name and the fields in `parts`.

    Raises:
        ProblemError: 400 if the body cannot be read, 422 if it holds no file.
    """
    try:
        async for event in _events(request):
            match event:
                case FileData(data):
                    yield data
                case FileBegan(name):
                    parts.name, parts.has_file = name, True
                case FieldRead(name, value):
                    parts.fields.append((name, value))
    except UnreadableBody as error:
        item = ErrorItem(code="unreadable_body", column="body", detail=str(error))
        title = "The request's body cannot be read"
        raise ProblemError(400, "unreadable-body", title, str(error), errors=(item,)) from None
    if not parts.has_file:
        detail = "Send the file as the field `file`."
        item = ErrorItem(code="missing", column="file", detail=detail)
        raise ProblemError(422, "no-file", "There is no file in the form", detail, errors=(item,))


def _events(request: Request) -> AsyncIterator[BodyEvent]:
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        return form_events(request.stream(), content_type)
    disposition = request.headers.get("content-disposition", "")
    if len(disposition) > LONGEST_DISPOSITION_CHARACTERS:
        detail = f"A Content-Disposition has at most {LONGEST_DISPOSITION_CHARACTERS} characters."
        item = ErrorItem(code="wrong_value", column="Content-Disposition", detail=detail)
        raise ProblemError(400, "wrong-file-name", "The file's name cannot be used", detail, errors=(item,))
    return raw_events(request.stream(), name_in_disposition(disposition))


def _options(pairs: list[tuple[str, str]]) -> UploadOptions:
    try:
        return read_options(pairs)
    except WrongOptions as wrong:
        raise ProblemError(422, "wrong-options", "An option cannot be used", f"{wrong}.", errors=wrong.items) from None


def _idempotency_key(request: Request) -> str | None:
    """The key of a draft-ietf-httpapi-idempotency-key-header; quotes around it are not part of it."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0].strip().strip('"')
    if len(keys) > 1 or not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        detail = f"There is one Idempotency-Key, of 1 to {LONGEST_KEY} printable ASCII characters."
        item = ErrorItem(code="wrong_value", column="Idempotency-Key", detail=detail)
        raise ProblemError(400, "wrong-idempotency-key", "The key cannot be used", detail, errors=(item,))
    return key


def _opened(upload_id: str, owner: str, name: str, options: UploadOptions, stored: StoredFile) -> UploadOpened:
    return UploadOpened(
        upload_id=upload_id,
        at=datetime.now(UTC),
        by=owner,
        name=name,
        owner=owner,
        options=options,
        file=stored.location,
        bytes=stored.bytes,
        sha256=stored.sha256,
    )


def _refuse_other_content(first: UploadOpened, *, sha256: str | None, options: UploadOptions) -> None:
    if first.sha256 == sha256 and first.options == options:
        return
    raise ProblemError(
        422,
        "idempotency-key-reused",
        "This key belongs to another upload",
        f"The Idempotency-Key was used for upload {first.upload_id} with another file or other options. Use a new key.",
    )
