"""Owns the commands that people gave for each upload, and for how long they apply. Pure."""

import heapq
from dataclasses import dataclass

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
AWAITED_MS = DAY_MS
"""How long a request waits for the opening of its upload, which was written earlier but on another topic."""


@dataclass(slots=True)
class UploadControl:
    """The commands for one upload.

    `opened_ms`: when the upload was opened, in milliseconds since 1970; None: the log has no opening (any more).
    `priority` None: the requests decide. `max_calls` None: no limit. `withdrawn`: it was cancelled or deleted.
    """

    opened_ms: int | None = None
    is_started: bool = False
    priority: int | None = None
    max_calls: int | None = None
    paused: bool = False
    withdrawn: bool = False

    @property
    def is_opened(self) -> bool:
        return self.opened_ms is not None


class UploadControls:
    """The controls by upload.

    Kafka deletes an upload's events after `keep_ms`, but keeps its requests. A process that reads the log later than
    that does not see a pause or a cancel. Therefore every process ends an upload `keep_ms` after its opening, and an
    upload without an opening gets no turn.
    """

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._by_upload: dict[str, UploadControl] = {}
        self._due: list[tuple[int, str]] = []
        self._newest_ms = 0

    def get(self, upload_id: str) -> UploadControl | None:
        return self._by_upload.get(upload_id)

    def of_event(self, upload_id: str, timestamp_ms: int) -> UploadControl:
        """The upload's control, for an event of that time to change."""
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        control = self._by_upload.get(upload_id)
        if control is None:
            control = self._by_upload[upload_id] = UploadControl()
            heapq.heappush(self._due, (timestamp_ms + self._keep_ms, upload_id))
        return control

    def opened(self, upload_id: str, control: UploadControl, timestamp_ms: int) -> None:
        control.opened_ms = timestamp_ms
        heapq.heappush(self._due, (timestamp_ms + self._keep_ms, upload_id))

    def requested(self, upload_id: str, timestamp_ms: int) -> None:
        """The first request of an upload was read, but not its opening."""
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        heapq.heappush(self._due, (timestamp_ms + AWAITED_MS, upload_id))

    def next_over(self, now_ms: int) -> str | None:
        """Forgets one upload that is over, or that was not opened in time, and returns it. None: no more of them.

        A clock that is more than a day ahead of the log ends no upload.
        """
        limit_ms = min(now_ms, self._newest_ms + DAY_MS)
        while self._due and self._due[0][0] <= limit_ms:
            _, upload_id = heapq.heappop(self._due)
            control = self._by_upload.get(upload_id)
            if control is None or control.opened_ms is None or control.opened_ms + self._keep_ms <= limit_ms:
                self._by_upload.pop(upload_id, None)
                return upload_id
        return None

    def capped(self) -> list[str]:
        """The uploads with a limit of calls."""
        return [each for each, control in self._by_upload.items() if control.max_calls is not None]
