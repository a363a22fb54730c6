"""Writes numbers, lengths of time, sizes and amounts as people read them; pure."""

from datetime import datetime, timedelta

from schemas.interface import Eta


def number(value: float | None) -> str:
    """A count with commas between thousands: `12,345`; a dash for unknown."""
    return "–" if value is None else f"{value:,.0f}"


def uncapitalised(sentence: str) -> str:
    """The text with its first letter in lower case, for use inside a sentence."""
    return sentence[:1].lower() + sentence[1:]


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `3 rows`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A length of time in words, no more precise than people need."""
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
    """`about 40 seconds left`, or a range when its ends read differently; None without an estimate."""
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
    """A limit in round figures, never above the true limit."""
    for unit_bytes, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes // unit_bytes} {unit}"
    return plural(size_bytes, "byte")


def ago(moment: datetime, now: datetime) -> str:
    """`just now`, `5 minutes ago`, or the date after a week."""
    passed = now - moment
    if passed < timedelta(seconds=45):
        return "just now"
    if passed < timedelta(days=7):
        return f"{duration(passed.total_seconds())} ago"
    return f"{moment:%-d %B %Y}"


def money(amount: float | None, currency: str) -> str:
    """An amount with its currency's code; amounts below 0.10 get a third decimal."""
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
