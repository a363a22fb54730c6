"""Describes a file and its outcome in lines of text. Shows row numbers, never a phone."""

from collections.abc import Iterable, Iterator, Mapping

from schemas.interface import Row, Upload
from schemas.rows import RowErrorCode

_EXAMPLES = 5
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", " ": "blank"}
_WHY: Mapping[RowErrorCode, str] = {
    "no_phone": "the phone cell is empty",
    "not_a_phone": "not a phone number",
    "lost_digits": "digits were lost when the file was saved, as in 4.41234E+11",
    "cancelled": "the upload was stopped before this row",
    "gave_up": "the lookup API gave no usable answer, several times over",
}


def detected_lines(upload: Upload) -> Iterator[str]:
    """What the file turned out to be."""
    found = upload.detected
    if found is None:
        return
    kind = [found.format.upper()]
    if found.delimiter:
        kind.append(f"delimiter {_DELIMITERS.get(found.delimiter, found.delimiter)}")
    if found.encoding:
        kind.append(f"encoding {found.encoding}")
    kind.append("with a header" if found.header else "without a header")
    if found.sheet:
        kind.append(f"sheet {found.sheet}")
    if found.skipped_lines:
        kind.append(f"{found.skipped_lines} lines above it skipped")
    yield f"Detected   {', '.join(kind)}"
    yield f"Phones in  {', '.join(_column(found.columns, index) for index in found.phone_columns)}"


def _column(columns: tuple[str, ...], index: int) -> str:
    header = columns[index] if index < len(columns) else ""
    return f'column {index + 1} "{header}"' if header else f"column {index + 1}"


def plan_line(upload: Upload) -> str:
    """From the file's rows to the calls they cost."""
    plan, counts = upload.plan, upload.counts
    if plan is None:
        return f"Rows       {counts.rows}"
    steps = [f"{plan.rows} rows", f"{plan.usable} usable", f"{plan.distinct} distinct phones"]
    if plan.known is not None:
        steps.append(f"{plan.known} known already")
    steps.append(f"{counts.calls} calls" + (f", {counts.retries} of them retries" if counts.retries else ""))
    return f"Rows       {' → '.join(steps)}"


def outcome_lines(upload: Upload) -> Iterator[str]:
    """What the rows' phones turned out to be."""
    counts = upload.counts
    states = {
        "answered": counts.answered,
        "failed": counts.failed,
        "rejected": counts.rejected,
        "unprocessed": counts.unprocessed,
    }
    yield f"Outcome    {_figures(states)}"
    if upload.summary.verdict:
        yield f"Verdict    {_figures(upload.summary.verdict)}"
    if upload.summary.line_type:
        yield f"Line type  {_figures(upload.summary.line_type)}"


def _figures(figures: Mapping[str, int]) -> str:
    ordered = sorted(figures.items(), key=lambda item: -item[1])
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in ordered if number) or "none"


def reason_lines(rows: Iterable[Row], *, total: int) -> Iterator[str]:
    """Why rows were not answered: one line a reason, with the first row numbers. `rows` may be the first of `total`."""
    numbers: dict[RowErrorCode | None, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.error.code if row.error else None, []).append(row.row)
    seen = sum(map(len, numbers.values()))
    for code, found in sorted(numbers.items(), key=lambda item: -len(item[1])):
        examples = ", ".join(map(str, found[:_EXAMPLES])) + (", ..." if len(found) > _EXAMPLES else "")
        reason = _WHY[code] if code else "no reason was given"
        yield f"  {len(found)} × {reason} (row{'s' if len(found) > 1 else ''} {examples})"
    if seen < total:
        yield f"  (judged by the first {seen} of {total} such rows)"
