"""The JSON endpoints for dead letters: the list by filter, redriving them, dismissing them."""

from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from schemas.base import Message
from schemas.interface import Page
from schemas.lookups import AttemptError
from schemas.values import Moment
from services.assembler.domain.views import parsed
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations import dead_letters as operations
from services.assembler.status.operations.cursors import DeadLettersCursor, cursor_numbers, encode_cursor
from services.assembler.status.operations.dead_letters import (
    DeadLettersInput,
    Dismissed,
    DismissQuery,
    RedriveBody,
    Redriven,
)
from services.assembler.store import dead_letters


class DeadLettersQuery(DeadLettersInput):
    cursor: DeadLettersCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries on a page")] = 100


class DeadLetterItem(Message):
    """A row whose phone was given up."""

    upload_id: str
    owner: str
    row: int
    phone: str
    attempts: int
    given_up_at: Moment
    error: AttemptError | None


async def list_dead_letters(request: ApiRequest[DeadLettersQuery, Nothing]) -> Response:
    after: tuple[int, int] | None = None
    if request.query.cursor is not None:
        no, row = cursor_numbers(request.query.cursor)
        after = (no, row)
    wanted = request.query.resolved(request.identity)
    found = await request.backend.database.read(
        lambda connection: dead_letters.list_dead_letters(
            connection, wanted, after=after, limit=request.query.limit + 1
        )
    )
    shown = found[: request.query.limit]
    items = tuple(
        DeadLetterItem(
            upload_id=one.upload_id,
            owner=one.owner,
            row=one.row,
            phone=one.phone,
            attempts=one.attempts,
            given_up_at=one.failed_at,
            error=parsed(AttemptError, one.error),
        )
        for one in shown
    )
    following = encode_cursor(shown[-1].upload_no, shown[-1].row) if len(found) > len(shown) else None
    return json_answer(Page[DeadLetterItem](items=items, next=following))


async def redrive(request: ApiRequest[Nothing, RedriveBody]) -> Response:
    return json_answer(await operations.redrive(request.backend, request.identity, request.body), 202)


async def dismiss(request: ApiRequest[DismissQuery, Nothing]) -> Response:
    return json_answer(await operations.dismiss(request.backend, request.identity, request.query), 202)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/dead-letters",
        list_dead_letters,
        "Rows whose phones were given up",
        {200: ("A page of dead letters", Page[DeadLetterItem])},
        query=DeadLettersQuery,
    ),
    Endpoint(
        "DELETE",
        "/v1/dead-letters",
        dismiss,
        "Take them off the list, by filter; the rows stay failed",
        {202: ("What went, or would go", Dismissed)},
        query=DismissQuery,
        admin=True,
    ),
    Endpoint(
        "POST",
        "/v1/dead-letters/redrive",
        redrive,
        "Look them up again, by filter",
        {202: ("What it did, or would do", Redriven)},
        body=RedriveBody,
        admin=True,
    ),
)
