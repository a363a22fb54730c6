"""Decides what a starting process reports of its past: recent starts, and why the last process ended. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from schemas.parts import MOST_STARTS, RESTARTS_LOOKED_AT, PartStatus

KILLED = "ended without a word: killed, out of memory, or cut off from Kafka"


@dataclass(frozen=True, slots=True)
class Past:
    """The starts of the last five minutes, this one last, with the one before them, and why the last process ended by
    an error."""

    starts: tuple[datetime, ...]
    last_end: str | None = None


def past_of(previous: PartStatus | None, *, now: datetime) -> Past:
    """The past of a process that starts `now`. `previous`: the last heartbeat of the same role and instance."""
    if previous is None:
        return Past((now,))
    known = previous.starts or (previous.started_at,)
    recent = [start for start in known if now - start <= RESTARTS_LOOKED_AT]
    # With an older one at their head, all others are known to be restarts.
    before = [start for start in known if start not in recent][-1:]
    starts = (*before, *recent, now)[-MOST_STARTS:]
    if previous.state != "stopping":
        return Past(starts, KILLED)
    return Past(starts, previous.error if previous.error and previous.error.startswith(ENDED_BY) else None)


ENDED_BY = "ended by "


def end_by(error: BaseException) -> str:
    """Names the error that ends a process by its type; its text may hold personal data."""
    kinds = dict.fromkeys(type(each).__name__ for each in _leaves(error))
    return ENDED_BY + ", ".join(kinds)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
