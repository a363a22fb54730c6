"""Works out what an upload's pages show beside the upload itself: shares, problems, links, table columns; pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from schemas.interface import Row, Upload
from schemas.settings import Settings
from schemas.uploads import FINISHED
from services.assembler.status.pages.wording.formatting import duration, money, time_left
from services.assembler.status.pages.wording.rows import LINE_TYPES, VERDICTS
from services.assembler.status.pages.wording.uploads import column_title, problem_counts, why_in_words

MOST_COLUMNS: Final = 12
"""Columns of the input in the table; the download has them all."""


def facts_of(shown: Upload, rows: list[Row], now: datetime, settings: Settings) -> dict[str, Any]:
    """The values of the templates `upload.html` and `check.html` that both need."""
    counts = shown.counts
    columns = () if shown.detected is None else shown.detected.columns
    width = min(MOST_COLUMNS, max([len(row.cells) for row in rows] + [len(columns)], default=0))
    return {
        "left": time_left(shown.eta, now),
        "why": why_in_words(shown.why),
        "clock_words": lambda moment: f"in {duration(max(0.0, (moment - now).total_seconds()))}",
        "partial": shown.state != "completed",
        "has_rows": bool(counts.answered or counts.failed or counts.rejected or counts.waiting),
        "verdicts": _by_size(shown.summary.verdict, VERDICTS),
        "line_types": _by_size(shown.summary.line_type, LINE_TYPES),
        "problems": [(words, count, rows_link(shown, state=state)) for words, count, state in problem_counts(shown)],
        "failed_link": _failed_link(shown),
        "spent": money(counts.calls * settings.call_price, settings.currency) if counts.calls else None,
        "row_tabs": _row_tabs(shown),
        "column_titles": [column_title(shown.detected, n) for n in range(width)],
        "shown_columns": width,
        "phone_columns": () if shown.detected is None else shown.detected.phone_columns,
    }


def _row_tabs(shown: Upload) -> list[tuple[str, int]]:
    counts = shown.counts
    by_state = {
        "waiting": counts.waiting,
        "answered": counts.answered,
        "failed": counts.failed,
        "rejected": counts.rejected,
        "unprocessed": counts.unprocessed if shown.state in FINISHED else 0,
    }
    return [(code, count) for code, count in by_state.items() if count]


def _by_size(counts: Mapping[str, int], names: Mapping[str, str]) -> list[tuple[str, str, int]]:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [(code, names.get(code, code), count) for code, count in ordered if count]


def _failed_link(shown: Upload) -> str | None:
    states = [name for name in ("failed", "rejected") if getattr(shown.counts, name)]
    return f"{shown.links.result_csv}?rows={','.join(states)}" if states else None


def rows_link(shown: Upload, **chosen: str | None) -> str:
    """The upload's page with these rows in its table."""
    query = urlencode({key: value for key, value in chosen.items() if value})
    return f"{shown.links.page}{'?' + query if query else ''}#rows"
