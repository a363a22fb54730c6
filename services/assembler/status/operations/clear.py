"""Deletes old uploads, by age and state."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from schemas.uploads import FINISHED, UploadState
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Bounded, Input, Nothing
from services.assembler.status.operations.command_execution import execute_on, matching_uploads
from services.assembler.status.operations.upload_commands import COMMANDS
from services.runtime.identity import Identity


class ClearBody(Input):
    older_than_days: Annotated[float, Field(ge=0, le=36_500, description="Created at least so many days ago")] = 0
    states: Annotated[tuple[UploadState, ...], Bounded] = Field(FINISHED, description="Only uploads in these states")
    dry_run: bool = Field(False, description="Only say how many")


class Cleared(Input):
    uploads: int
    dry_run: bool


async def clear(backend: Backend, identity: Identity, wanted: ClearBody) -> Cleared:
    """Deletes (or only counts) the uploads that are old enough and in these states."""
    before = datetime.now(UTC) - timedelta(days=wanted.older_than_days)
    delete = COMMANDS["delete"].with_input(Nothing())
    count = 0
    async for records in matching_uploads(backend, identity, states=wanted.states):
        old = [record for record in records if record.created_at is not None and record.created_at <= before]
        count += len(old)
        if not wanted.dry_run:
            await execute_on(backend, identity, old, delete)
    return Cleared(uploads=count, dry_run=wanted.dry_run)
