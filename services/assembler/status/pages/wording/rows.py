"""Decides what the pages say about a row and its result; pure."""

from collections.abc import Mapping
from typing import Final

from schemas.interface import Row

VERDICTS: Final[Mapping[str, str]] = {
    "ok": "OK to call",
    "do_not_call": "Do not call",
    "unreachable": "Not reachable",
    "not_valid": "Not a valid number",
    "unknown": "Unknown",
}
ROW_STATES: Final[Mapping[str, str]] = {
    "waiting": "Waiting",
    "answered": "Answered",
    "failed": "No answer",
    "rejected": "Not usable",
    "unprocessed": "Not looked up",
}
PROBLEMS: Final[Mapping[str, str]] = {
    "no_phone": "The cell is empty",
    "not_a_phone": "Not a phone number",
    "lost_digits": "Digits were lost when the file was saved (like 4.41E+11)",
    "cancelled": "The upload was stopped before this row",
    "gave_up": "The lookup service gave no usable answer after several tries",
}
PROBLEMS_IN_BRIEF: Final[Mapping[str, str]] = {
    "no_phone": "Empty cell",
    "not_a_phone": "Not a phone number",
    "lost_digits": "Digits lost",
}
"""For tables, where a long sentence would push all other columns out of sight."""
LINE_TYPES: Final[Mapping[str, str]] = {
    "mobile": "Mobile",
    "landline": "Landline",
    "voip": "VoIP",
    "toll_free": "Toll-free",
    "premium": "Premium",
    "shared_cost": "Shared cost",
    "pager": "Pager",
    "other": "Other",
    "unknown": "Unknown",
}


def row_words(row: Row) -> str:
    if row.result is not None and row.result.verdict is not None:
        return VERDICTS.get(row.result.verdict, row.result.verdict)
    state = ROW_STATES.get(row.state, row.state)
    if row.state == "rejected" and row.error is not None:
        return PROBLEMS_IN_BRIEF.get(row.error.code, state)
    return state


def row_tone(row: Row) -> str:
    if row.result is not None and row.result.verdict is not None:
        return {"ok": "good", "do_not_call": "bad", "unreachable": "ask"}.get(row.result.verdict, "plain")
    return {"failed": "bad", "waiting": ""}.get(row.state, "plain")
