"""Samples an upload's ETA while it runs, and says how far its middle was from the truth."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

_INTERVAL_SECONDS = 0.5
_LEAST_LEFT_SECONDS = 5.0
"""Of a time left that is shorter than this, the last step alone (joining, counting) is more than a tenth."""


@dataclass(frozen=True)
class Sample:
    """What the API said at a moment. `middle` None: it named no ETA."""

    at: datetime
    state: str
    why: str | None
    middle: datetime | None


@dataclass
class Sampler:
    """The samples of some uploads, by id."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def look(self, client: httpx.Client, upload_id: str) -> None:
        response = client.get(f"/v1/uploads/{upload_id}")
        if response.status_code == httpx.codes.OK:
            upload = response.json()
            why = None if upload["why"] is None else upload["why"]["code"]
            self.samples[upload_id].append(Sample(now(), upload["state"], why, _middle(upload)))


def _middle(upload: dict[str, Any]) -> datetime | None:
    if upload["eta"] is None:
        return None
    begin, end = moment(upload["eta"]["from"]), moment(upload["eta"]["to"])
    return begin + (end - begin) / 2


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextmanager
def sampling(client: httpx.Client, *upload_ids: str) -> Iterator[Sampler]:
    """Looks at the uploads twice a second until the block ends."""
    sampler = Sampler({upload_id: [] for upload_id in upload_ids})
    stop = threading.Event()

    def look_until_stopped() -> None:
        while not stop.wait(_INTERVAL_SECONDS):
            for upload_id in upload_ids:
                sampler.look(client, upload_id)

    thread = threading.Thread(target=look_until_stopped, daemon=True)
    thread.start()
    try:
        yield sampler
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True)
class Errors:
    """The worst errors of an ETA's middle: as shares of the upload's whole time, and of the time then left."""

    of_whole: float
    of_left: float
    samples: int
    without_eta: int


def errors(samples: Sequence[Sample], upload: dict[str, Any], *, since: datetime | None = None) -> Errors:
    """The errors from a quarter of the upload's time on, or from `since` if that is later."""
    started, finished = moment(upload["started_at"]), moment(upload["finished_at"])
    whole = finished - started
    begin = max(started + whole / 4, since or started)
    judged = [sample for sample in samples if begin <= sample.at < finished and sample.state == "in_progress"]
    off = [(abs(s.middle - finished), finished - s.at) for s in judged if s.middle is not None]
    long_before = [(error, left) for error, left in off if left >= timedelta(seconds=_LEAST_LEFT_SECONDS)]
    return Errors(
        of_whole=max(error / whole for error, _ in off),
        of_left=max(error / left for error, left in long_before),
        samples=len(judged),
        without_eta=len(judged) - len(off),
    )


def now() -> datetime:
    return datetime.now(UTC)
