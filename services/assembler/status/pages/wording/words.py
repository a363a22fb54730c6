"""Says states, reasons, times and sizes in plain words; the only place where the pages' vocabulary is decided."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from schemas.interface import Eta, Why
from schemas.uploads import UploadState

STATES: Final[Mapping[str, str]] = {
    "pending": "Waiting to be read",
    "checking": "Reading the file",
    "checked": "Ready to start",
    "in_progress": "Looking up",
    "paused": "Paused",
    "completed": "Done",
    "failed": "Failed",
    "cancelled": "Stopped",
}
TONES: Final[Mapping[str, str]] = {
    "pending": "calm",
    "checking": "calm",
    "checked": "ask",
    "in_progress": "busy",
    "paused": "ask",
    "completed": "good",
    "failed": "bad",
    "cancelled": "calm",
}
_WHYS: Final[Mapping[str, str]] = {
    "being_read": "The file is being read.",
    "waiting_turn": "Other uploads are being looked up too; calls are shared fairly between them.",
    "backoff": "The last phones did not get a reply. They are asked again in a moment.",
    "paused": "Calls are paused. Nothing is lost; it goes on when they are resumed.",
    "account_problem": "The lookup service refuses our account (key or credit). An operator has to look at it.",
    "provider_down": "The lookup service does not reply. It is tried again once a minute.",
    "provider_throttled": "The lookup service asked us to slow down, so it takes a little longer.",
    "shared_with_other_upload": "The same phones are already being looked up for another upload.",
    "part_down": "A part of the system is not running. Nothing is lost; it goes on as soon as the part is back.",
    "rows_missing": "Some rows that were read never arrived.",
}
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
    "gave_up": "The lookup service gave no usable reply after several tries",
}
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


def state_in_words(state: UploadState) -> str:
    return STATES[state]


def why_in_words(why: Why | None) -> str | None:
    return None if why is None else _WHYS[why.code]


def number(value: float | None) -> str:
    """A count with thin groups of thousands: `12,345`; a dash for unknown."""
    return "–" if value is None else f"{value:,.0f}"


def uncapitalised(sentence: str) -> str:
    """For use inside another sentence; only the first letter changes."""
    return sentence[:1].lower() + sentence[1:]


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `3 rows`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A length of time as people say it: never more precise than it is useful."""
    if seconds < 1:
        return "a moment"
    if seconds < 90:
        return plural(round(seconds), "second")
    minutes = seconds / 60
    if minutes < 90:
        return plural(round(minutes), "minute")
    hours = minutes / 60
    if hours < 36:
        whole, rest = divmod(round(minutes), 60)
        return f"{whole} h {rest} min" if rest else plural(whole, "hour")
    return plural(round(hours / 24), "day")


def time_left(eta: Eta | None, now: datetime) -> str | None:
    """`about 40 seconds left`, or a range where its ends differ in words; None when nobody can say."""
    if eta is None:
        return None
    shortest = max(0.0, (eta.from_ - now).total_seconds())
    longest = max(0.0, (eta.to - now).total_seconds())
    if longest < 5:
        return "a few seconds left"
    low, high = duration(shortest), duration(longest)
    if low == high:
        return f"about {high} left"
    low_number, _, low_unit = low.partition(" ")
    high_number, _, high_unit = high.partition(" ")
    if low_unit == high_unit and low_number.isdigit():
        return f"{low_number}–{high_number} {high_unit} left"
    return f"{low} – {high} left"


def file_size(size_bytes: int | None) -> str:
    """Bytes in the largest fitting unit, decimal."""
    if size_bytes is None:
        return "–"
    if size_bytes < 1000:
        return plural(size_bytes, "byte")
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5 or unit == "GB":
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError("unreachable")


def size_limit(size_bytes: int) -> str:
    """A limit in round figures, never above the true one."""
    for unit_bytes, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes // unit_bytes} {unit}"
    return plural(size_bytes, "byte")


def ago(moment: datetime, now: datetime) -> str:
    """`just now`, `5 minutes ago`, and the date when it is longer than a week."""
    passed = now - moment
    if passed < timedelta(seconds=45):
        return "just now"
    if passed < timedelta(days=7):
        return f"{duration(passed.total_seconds())} ago"
    return f"{moment:%-d %B %Y}"


def money(amount: float | None, currency: str) -> str:
    """An amount with its currency's code, with as many decimals as its smallness needs."""
    if amount is None:
        return "–"
    decimals = 2 if amount >= 0.1 or amount == 0 else 3
    return f"{amount:,.{decimals}f} {currency}"


def limit_in_words(calls: int, window_seconds: float) -> str:
    """`10 calls a second`."""
    window = "a second" if window_seconds == 1 else f"in {window_seconds:g} seconds"
    return f"{plural(calls, 'call')} {window}"


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
