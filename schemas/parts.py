"""Owns the message by which every process says that it lives, and counts its recent restarts."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.base import Message
from schemas.roles import RoleName
from schemas.values import Count, Moment, Sentence, Token

PartState = Literal["starting", "running", "standby", "stuck", "stopping"]
Role = Literal[RoleName, "web"]
"""`web`: the process of the local stack that is `http` and `status` in one."""

RESTARTS_LOOKED_AT: Final = timedelta(minutes=5)
MOST_RESTARTS: Final = 3
"""More restarts than this within `RESTARTS_LOOKED_AT`: the part does not do its work."""
MOST_STARTS: Final = 20


class PartStatus(Message):
    """One process. Key: `role-instance`. `active`: it does work now (a standby gate does not).

    `starts`: when it was started within the last five minutes, this time included, and the time before these; oldest
    first, at most 20.
    `last_end`: why the process before it ended, if it ended by an error; None after a planned end.
    """

    role: Role
    instance: Token
    pid: Count
    state: PartState
    active: bool
    started_at: Moment
    seen_at: Moment
    error: Sentence | None = None
    starts: Annotated[tuple[Moment, ...], Field(max_length=MOST_STARTS)] = ()
    last_end: Sentence | None = None

    @property
    def key(self) -> str:
        return part_key(self.role, self.instance)


def part_key(role: Role, instance: str) -> str:
    """The name of a process among all: its key on `part-status`, and the `seen_by` of the records it puts aside."""
    return f"{role}-{instance}"


def restarts_lately(part: PartStatus, now: datetime) -> int:
    """How often the part was restarted in the last five minutes. The very first start is no restart."""
    lately = sum(now - start <= RESTARTS_LOOKED_AT for start in part.starts)
    return max(0, lately - 1) if lately == len(part.starts) else lately


def keeps_restarting(part: PartStatus, now: datetime) -> bool:
    """Whether the part was restarted so often in the last five minutes that it does not do its work."""
    return restarts_lately(part, now) > MOST_RESTARTS
