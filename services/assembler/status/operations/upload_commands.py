"""Owns the registry of commands on one upload: the input that each takes, and its decision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, Field

from schemas.uploads import UploadOptions
from schemas.values import Count, Priority
from services.assembler.domain import commands
from services.assembler.domain.commands import CommandDecision, Target
from services.assembler.status.inputs import Input, Nothing

B = TypeVar("B", bound=BaseModel)
Decide = Callable[[Target, str, datetime], CommandDecision]
"""Decides on a command, from the upload, the owner who sends it, and the time."""


class StartBody(Input):
    max_calls: Count | None = Field(None, description="Stop after so many calls")
    sample_rows: Annotated[Count, Field(ge=1)] | None = Field(None, description="Only so many rows")


class RetryBody(Input):
    force: bool = Field(False, description="Also after the usual number of rounds")


class PriorityBody(Input):
    priority: Priority = Field(description="1 high … 5 low")


class OptionsBody(UploadOptions):
    """Options to change; those left out stay as they are."""

    model_config = Input.model_config


@dataclass(frozen=True, slots=True)
class Command(Generic[B]):
    """A command on one upload. `body`: the model of its input."""

    summary: str
    body: type[B]
    decide: Callable[[Target, B, str, datetime], CommandDecision]

    def with_input(self, given: B) -> Decide:
        """The command with its input, ready to be decided for any upload."""
        return lambda target, by, now: self.decide(target, given, by, now)


def changed_options(before: UploadOptions, changes: UploadOptions) -> UploadOptions:
    """The options before, with those replaced that `changes` sets."""
    return before.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


def _start(target: Target, given: StartBody, by: str, now: datetime) -> CommandDecision:
    return commands.start(target, by=by, now=now, max_calls=given.max_calls, sample_rows=given.sample_rows)


def _set_options(target: Target, given: UploadOptions, by: str, now: datetime) -> CommandDecision:
    return commands.set_options(target, changed_options(target.options, given), by=by, now=now)


def _pause(target: Target, _given: Nothing, by: str, now: datetime) -> CommandDecision:
    return commands.pause(target, by=by, now=now)


def _resume(target: Target, _given: Nothing, by: str, now: datetime) -> CommandDecision:
    return commands.resume(target, by=by, now=now)


def _cancel(target: Target, _given: Nothing, by: str, now: datetime) -> CommandDecision:
    return commands.cancel(target, by=by, now=now)


def _retry_failed(target: Target, given: RetryBody, by: str, now: datetime) -> CommandDecision:
    return commands.retry_failed(target, by=by, now=now, force=given.force)


def _set_priority(target: Target, given: PriorityBody, by: str, now: datetime) -> CommandDecision:
    return commands.set_priority(target, given.priority, by=by, now=now)


def _delete(target: Target, _given: Nothing, by: str, now: datetime) -> CommandDecision:
    return commands.delete(target, by=by, now=now)


COMMANDS: Final[Mapping[str, Command[Any]]] = {
    "start": Command("Start an upload that was checked", StartBody, _start),
    "options": Command("Change options before the start; the file is checked again", OptionsBody, _set_options),
    "pause": Command("Make no more calls for it until it is resumed", Nothing, _pause),
    "resume": Command("Go on after a pause", Nothing, _resume),
    "cancel": Command("Stop early and keep what is known", Nothing, _cancel),
    "retry-failed": Command("Look the failed rows up again", RetryBody, _retry_failed),
    "priority": Command("Change its priority", PriorityBody, _set_priority),
    "delete": Command("Delete it; if it is unfinished, it is stopped first", Nothing, _delete),
}
"""By name, which is also the last part of the path in the API and in the forms."""
