"""The message by which every process tells that it lives."""

from typing import Literal

from schemas.base import Message, Moment

PartState = Literal["starting", "running", "standby", "stuck", "stopping"]
Role = Literal["http", "feeder", "worker", "gate", "join", "status", "web"]


class PartStatus(Message):
    """One process. Key: `role-instance`. `active`: it does work now (a standby gate does not)."""

    role: Role
    instance: str
    pid: int
    state: PartState
    active: bool
    started_at: Moment
    seen_at: Moment
    error: str | None = None

    @property
    def key(self) -> str:
        return f"{self.role}-{self.instance}"
