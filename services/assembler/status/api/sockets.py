"""The websocket `/v1/uploads/{id}/events`: sends one client the state that SQL shows, as fast as the client reads.

Nothing is queued per client. News only wakes the conversation, which then sends the present state: a slow client
misses intermediate states, never the latest one.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from schemas.interface import Row, Upload
from schemas.uploads import FINISHED
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import row_view
from services.assembler.status.backend import Backend
from services.assembler.store import reads
from services.assembler.store.connections import Connection
from services.runtime.identity import identify
from services.runtime.problems import ProblemError, problem_response
from services.runtime.web import refuse_foreign_origin

PROTOCOL: Final = "scrub.v1"
MOST_ROWS: Final = 200
LOOK_AGAIN_SECONDS: Final = 2.0
"""Without news the upload is read this often: a lost record delays the client's update, but does not lose it."""
SEND_SECONDS: Final = 20.0
"""A client that reads nothing for so long counts as gone."""
_SEQ: Final = re.compile("[0-9]{1,18}")
NORMAL, GOING_AWAY, POLICY, TRY_AGAIN = 1000, 1001, 1008, 1013


@dataclass(frozen=True, slots=True)
class UploadNews:
    """An upload and the rows of it that changed since a version."""

    record: StoredUpload
    rows: list[Row]
    more: bool


def news_since(connection: Connection, upload_id: str, seq: int | None) -> UploadNews | None:
    """The upload and its rows changed after version `seq` (None: no rows); None when it is gone."""
    record = reads.upload(connection, upload_id)
    if record is None:
        return None
    if seq is None or record.version == seq:
        return UploadNews(record, [], more=False)
    changes = reads.row_changes_since(connection, record, seq)
    newest = changes.rows[-MOST_ROWS:]
    stored = reads.rows_by_number(connection, record, newest) if newest else []
    rows = [row_view(row, cancelled=record.cancelled_at is not None) for row in stored]
    return UploadNews(record, rows, more=not changes.complete or len(changes.rows) > len(newest))


async def events(websocket: WebSocket) -> None:
    """Serves one socket: hello, snapshot (unless resumed), then progress, rows, state, and done."""
    backend: Backend = websocket.state.backend
    try:
        refuse_foreign_origin(websocket)
        identity = identify(websocket, backend.settings)
        record = await backend.uploads.find(identity, str(websocket.path_params["upload_id"]))
    except ProblemError as refusal:
        await _refuse(websocket, refusal)
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
    talking = asyncio.create_task(Conversation(websocket, backend, record).run())
    listening = asyncio.create_task(_until_closed(websocket))
    done, pending = await asyncio.wait({talking, listening}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _refuse(websocket: WebSocket, refusal: ProblemError) -> None:
    """Answers with the usual problem document, if the server can send one before the handshake; else with a code."""
    response = problem_response(refusal.problem, refusal.headers)
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(response)
    else:
        await websocket.close(TRY_AGAIN if refusal.problem.status == 503 else POLICY)


async def _until_closed(websocket: WebSocket) -> None:
    """Ignores the client's messages; returns when the client has closed the socket."""
    with suppress(WebSocketDisconnect):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass


class Conversation:
    """Owns the state that one client has last received, and sends the differences."""

    def __init__(self, websocket: WebSocket, backend: Backend, record: StoredUpload) -> None:
        self._websocket = websocket
        self._backend = backend
        self._upload_id = record.id
        self._told: Upload | None = None
        self._seq: int | None = self._resumed_from(record)

    def _resumed_from(self, record: StoredUpload) -> int | None:
        """The version that the client has already seen, if this database is still the one that gave it."""
        epoch, _, seq = self._websocket.query_params.get("after", "").rpartition(":")
        if epoch != self._backend.database.epoch or _SEQ.fullmatch(seq) is None or int(seq) > record.version:
            return None
        return int(seq)

    async def run(self) -> None:
        with suppress(WebSocketDisconnect, TimeoutError), self._backend.hub.watch(self._upload_id) as watcher:
            resumed = self._seq is not None
            first = await self._news()
            if first is None:
                return
            await self._send("hello", first.record.version, {"epoch": self._backend.database.epoch})
            await self._tell_first(first, resumed=resumed)
            while not await self._is_over():
                await watcher.wait(LOOK_AGAIN_SECONDS)
                news = await self._news()
                if news is None:
                    await self._websocket.close(GOING_AWAY, "the upload was deleted")
                    return
                await self._tell(news)

    async def _news(self) -> UploadNews | None:
        """The news since the last message, as soon as the database answers; None when the upload was deleted."""
        while True:
            try:
                return await self._backend.database.read(
                    lambda connection: news_since(connection, self._upload_id, self._seq)
                )
            except ProblemError:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _tell_first(self, news: UploadNews, *, resumed: bool) -> None:
        upload = await self._backend.views.one(news.record)
        if resumed and not news.more:
            self._told = upload
            await self._send_progress(upload, news.record.version)
            await self._send_rows(news)
        else:
            await self._send("snapshot", news.record.version, upload)
        self._told = upload
        self._seq = news.record.version

    async def _tell(self, news: UploadNews) -> None:
        assert self._told is not None
        upload = await self._backend.views.one(news.record)
        seq = news.record.version
        if upload.state != self._told.state:
            await self._send("state", seq, {"from": self._told.state, "to": upload.state})
        if upload.detected != self._told.detected or upload.plan != self._told.plan or upload.round != self._told.round:
            await self._send("snapshot", seq, upload)
        elif _progress(upload) != _progress(self._told):
            await self._send_progress(upload, seq)
        await self._send_rows(news)
        self._told = upload
        self._seq = seq

    async def _send_progress(self, upload: Upload, seq: int) -> None:
        await self._send("progress", seq, _progress(upload))

    async def _send_rows(self, news: UploadNews) -> None:
        if news.rows or news.more:
            items = [row.model_dump(mode="json") for row in news.rows]
            await self._send("rows", news.record.version, {"items": items, "more": news.more})

    async def _is_over(self) -> bool:
        assert self._told is not None
        if self._told.state not in FINISHED:
            return False
        await self._send("done", self._seq or 0, self._told)
        await self._websocket.close(NORMAL)
        return True

    async def _send(self, kind: str, seq: int, data: Upload | dict[str, Any]) -> None:
        body = data if isinstance(data, dict) else data.model_dump(mode="json", by_alias=True)
        frame = {"type": kind, "seq": seq, "ts": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z", "data": body}
        async with asyncio.timeout(SEND_SECONDS):
            await self._websocket.send_text(orjson.dumps(frame).decode())


def _progress(upload: Upload) -> dict[str, Any]:
    return upload.model_dump(mode="json", by_alias=True, include={"counts", "position", "eta", "why"})


ROUTES = [WebSocketRoute("/v1/uploads/{upload_id}/events", events)]
