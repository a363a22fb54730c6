"""Publishes stored rows again on `upload-rows`: rows of a new round, and rows that no part looks up.

Nothing else publishes a row again, so the repetition of a row always has one of these two reasons.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from pydantic import ValidationError

from schemas import topics
from schemas.codec import MAX_VALUE_BYTES, encode, where_and_what
from schemas.rows import UploadRow
from schemas.settings import Settings
from services.assembler.domain.stored import StoredUpload
from services.assembler.join.database import Database
from services.assembler.join.sending import Outgoing, ShorteningSender
from services.assembler.store.join_reads import WaitingRow, retried_uploads, waiting_rows
from services.runtime.kafka import topic_name

PAGE_ROWS = 1000
LOOK_SECONDS = 1.0
ANY_ROUND = 2**31 - 1
log = logging.getLogger(__name__)


def row_again(upload: StoredUpload, row: WaitingRow) -> UploadRow:
    """The message that publishes the row again, in the upload's present round. The worker requests it once more."""
    assert upload.wanted_at is not None
    assert upload.accept_since is not None
    return UploadRow(
        upload_id=upload.id,
        row=row.row,
        line=row.line,
        round=upload.round,
        phone=row.phone,
        cells=tuple(json.loads(row.cells)),
        owner=upload.owner or "",
        priority=upload.priority,
        wanted_at=upload.wanted_at,
        accept_since=upload.accept_since,
        again=True,
    )


def value_again(row: UploadRow) -> bytes:
    """The record's value. A value that would be larger than readers accept has no cells.

    No reader needs them: the worker ignores cells, and the join keeps the first record of the row, which has them.
    """
    value = encode(row)
    return value if len(value) <= MAX_VALUE_BYTES else _without_cells(row)


def _without_cells(row: UploadRow) -> bytes:
    return encode(row.model_copy(update={"cells": ()}))


class Republisher:
    """Publishes waiting rows of an upload, page by page, each page acknowledged before the next."""

    def __init__(self, database: Database, sender: ShorteningSender, settings: Settings) -> None:
        self._database = database
        self._sender = sender
        self._topic = topic_name(topics.UPLOAD_ROWS, settings)

    async def publish(self, upload: StoredUpload, *, below_round: int) -> int:
        """Publishes the waiting rows last published in a round below this one; returns how many."""
        published = after_row = 0
        while page := await self._page(upload.no, below_round=below_round, after_row=after_row):
            again = [_outgoing(row) for row in _rows_again(upload, page)]
            await self._sender.send(self._topic, again)
            published += len(again)
            after_row = page[-1].row
        return published

    async def _page(self, upload_no: int, *, below_round: int, after_row: int) -> list[WaitingRow]:
        return await self._database.read(
            lambda connection: waiting_rows(
                connection, upload_no, below_round=below_round, after_row=after_row, limit=PAGE_ROWS
            )
        )


def _outgoing(row: UploadRow) -> Outgoing:
    return Outgoing(row.phone.encode(), value_again(row), lambda: _without_cells(row))


def _rows_again(upload: StoredUpload, page: Iterable[WaitingRow]) -> Iterable[UploadRow]:
    """The rows of a page, without rows that an older version stored and readers refuse today."""
    for row in page:
        try:
            yield row_again(upload, row)
        except ValidationError as error:
            what = where_and_what(error)
            log.warning("upload number %d: row %d cannot be published again: %s", upload.no, row.row, what)


class RoundPublisher:
    """Publishes the waiting rows of an upload again after `RetryFailed`.

    After a restart SQL tells which rows were published: those that came back through `upload-rows` have the new round.
    """

    def __init__(
        self,
        database: Database,
        republisher: Republisher,
        *,
        partitions: Callable[[], Collection[int]],
        everything_joined: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._republisher = republisher
        self._partitions = partitions
        self._everything_joined = everything_joined
        self._done: set[tuple[int, int]] = set()

    async def run(self) -> None:
        """Publishes until cancelled, once the logs were read to their ends: a rebuild publishes nothing again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Publishes each round of each upload once per process, when all joins together have read all logs."""
        partitions = self._partitions()
        uploads = await self._database.read(lambda connection: retried_uploads(connection, partitions))
        new = [upload for upload in uploads if (upload.no, upload.round) not in self._done]
        if not new or not await self._everything_joined():
            return
        for upload in await self._database.read(lambda connection: retried_uploads(connection, partitions)):
            if (upload.no, upload.round) in self._done:
                continue
            published = await self._republisher.publish(upload, below_round=upload.round)
            self._done.add((upload.no, upload.round))
            log.info("upload %s: %d rows published for round %d", upload.id, published, upload.round)
