"""Owns what people decided about each upload, and how long that can be known. Pure."""

import heapq
from dataclasses import dataclass

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
AWAITED_MS = DAY_MS
"""How long a request waits for its upload to be opened. Opening comes first, on a topic that is read beside."""


@dataclass(slots=True)
class Control:
    """`opened_ms`: when the upload was opened, milliseconds since 1970; None: the log does not (any more) say so.

    `priority` None: as its requests say; `max_calls` None: no cap.
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


class Controls:
    """Kafka forgets an upload's events after `keep_ms`, while its requests stay. Whoever reads the log after that knows
    nothing of a pause or a cancel. So an upload is over that long after its opening, for everybody alike, and one that
    was not opened has no turn.
    """

    def __init__(self, *, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._by_upload: dict[str, Control] = {}
        self._due: list[tuple[int, str]] = []
        self._newest_ms = 0

    def get(self, upload_id: str) -> Control | None:
        return self._by_upload.get(upload_id)

    def of_event(self, upload_id: str, timestamp_ms: int) -> Control:
        """The upload's control, to be changed by an event of that time."""
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        control = self._by_upload.get(upload_id)
        if control is None:
            control = self._by_upload[upload_id] = Control()
            heapq.heappush(self._due, (timestamp_ms + self._keep_ms, upload_id))
        return control

    def opened(self, upload_id: str, control: Control, timestamp_ms: int) -> None:
        control.opened_ms = timestamp_ms
        heapq.heappush(self._due, (timestamp_ms + self._keep_ms, upload_id))

    def requested(self, upload_id: str, timestamp_ms: int) -> None:
        """An upload of which no opening is known has its first request."""
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        heapq.heappush(self._due, (timestamp_ms + AWAITED_MS, upload_id))

    def next_over(self, now_ms: int) -> str | None:
        """An upload that is over, or was not opened in time; it is forgotten. None: no more of them.

        A clock that is wrong by more than a day against the log ends nothing.
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
        """The uploads whose calls are capped."""
        return [each for each, control in self._by_upload.items() if control.max_calls is not None]
