"""Counts the changes of one transaction to each upload: rows by state, tallies, calls, numbers of rows; pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.lookups import LookupResult
from services.assembler.domain.answers import AnswerCandidate
from services.assembler.domain.row_state import State

LISTED_ROWS = 200
"""The most rows of one version that are listed for live views. Further rows show in the counts alone."""
NO_LINE_TYPE = "unknown"


@dataclass(slots=True)
class UploadChanges:
    """The changes to one upload. `settled_at`: the newest time among the counted rows and results, microseconds."""

    states: list[int] = field(default_factory=lambda: [0] * len(State))
    tallies: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: int = 0
    retries: int = 0
    settled_at: int = 0
    rows: dict[int, None] = field(default_factory=dict)
    more: bool = False

    def move(self, row: int, old: State | None, new: State | None) -> None:
        """Counts a row that goes from one state to another. None: the row was not stored, or is no longer."""
        if old is not None:
            self.states[old] -= 1
        if new is not None:
            self.states[new] += 1
        if len(self.rows) < LISTED_ROWS:
            self.rows[row] = None
        elif row not in self.rows:
            self.more = True

    def tally(self, candidate: AnswerCandidate, sign: int) -> None:
        """Counts this result of an answered row in (+1) or out (-1)."""
        if candidate.verdict is not None:
            self.tallies[candidate.verdict, candidate.line_type or NO_LINE_TYPE] += sign


@dataclass(slots=True)
class Changes:
    """The changes of a transaction, by the number of the upload."""

    by_upload: dict[int, UploadChanges] = field(default_factory=dict)

    def of(self, upload_no: int) -> UploadChanges:
        found = self.by_upload.get(upload_no)
        if found is None:
            found = self.by_upload[upload_no] = UploadChanges()
        return found


def calls_and_retries(results: Iterable[LookupResult]) -> dict[str, tuple[int, int]]:
    """Calls and, of these, retries that each upload paid for.

    The first call for a phone belongs to the first payer; every other one is a retry.
    """
    paid: dict[str, tuple[int, int]] = {}
    for result in results:
        first = 1
        for payer in result.calls:
            calls, retries = paid.get(payer.upload_id, (0, 0))
            paid[payer.upload_id] = (calls + payer.calls, retries + payer.calls - min(first, payer.calls))
            first -= min(first, payer.calls)
    return paid
