"""Owns the table of result columns: how each one is taken from a result, stored, shown in a row, and titled in a file.

The SQL columns, the select lists, the result of a row and the columns of result files derive from `COLUMNS`; pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal

from schemas.lookups import LookupResult, RowResult, verdict_of
from services.assembler.domain.stored_numbers import from_micros, to_micros

SqlKind = Literal["text", "integer", "moment"]
"""How SQL stores a column; a moment as microseconds since 1970."""


Source = str | Callable[[LookupResult], object]
"""A path within `LookupResult`, or a function of one. What lies within `data` is None for a result without data."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column. `name`: of the SQL column and of the field of `RowResult`; `source`: where its stored value is from.

    `header`: its title in result files; None: they do not have it. `since`: the version of the database's tables that
    first had it; a new column says the next version.
    """

    name: str
    source: Source
    kind: SqlKind = "text"
    header: str | None = None
    nullable: bool = True
    since: int = 4


COLUMNS: Final = (
    ResultColumn("outcome", "outcome", nullable=False),
    ResultColumn("verdict", lambda result: verdict_of(result.outcome, result.data), header="scrub_verdict"),
    ResultColumn("line_type", "data.line_type", header="scrub_line_type"),
    ResultColumn("carrier", "data.carrier", header="scrub_carrier"),
    ResultColumn("country", "data.country", header="scrub_country"),
    ResultColumn("reachable", "data.reachable", header="scrub_reachable"),
    ResultColumn("do_not_call", "data.do_not_call", header="scrub_do_not_call"),
    ResultColumn("provider", "provider", nullable=False),
    ResultColumn(
        "looked_up_at",
        lambda result: to_micros(result.looked_up_at),
        kind="moment",
        header="scrub_checked_at",
        nullable=False,
    ),
    ResultColumn("attempts", "attempts", kind="integer", nullable=False),
)
"""In the order of the SQL table and of result files."""
NAMES: Final = tuple(column.name for column in COLUMNS)
HEADERS: Final = tuple(column.header for column in COLUMNS if column.header is not None)
"""The titles of the columns of `file_cells`."""
_MOMENTS: Final = tuple(column.name for column in COLUMNS if column.kind == "moment")
_fields_of_file: Final = attrgetter(*(column.name for column in COLUMNS if column.header is not None))


def _nothing(_result: LookupResult) -> None:
    return None


def _reader(source: Source, *, with_data: bool) -> Callable[[LookupResult], object]:
    if callable(source):
        return source
    return attrgetter(source) if with_data or not source.startswith("data.") else _nothing


_READERS: Final = tuple(_reader(column.source, with_data=True) for column in COLUMNS)
_READERS_WITHOUT_DATA: Final = tuple(_reader(column.source, with_data=False) for column in COLUMNS)


def stored_values(result: LookupResult) -> list[Any]:
    """The stored values of a result in these columns, in the order of `NAMES`."""
    return [read(result) for read in (_READERS_WITHOUT_DATA if result.data is None else _READERS)]


def shown_values(stored: Sequence[Any]) -> dict[str, Any] | None:
    """The fields of a `RowResult`, from the stored values in the order of `NAMES`. None: the row has no result."""
    values = dict(zip(NAMES, stored))  # noqa: B905 - `strict` costs half as much again, for each row
    if values["outcome"] is None:
        return None
    for name in _MOMENTS:
        values[name] = from_micros(values[name])
    return values


def file_cells(result: RowResult | None) -> list[str]:
    """The cells of a result file under `HEADERS`; empty where nothing is known."""
    if result is None:
        return [""] * len(HEADERS)
    return [value if isinstance(value, str) else _cell(value) for value in _fields_of_file(result)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    # A stored moment is UTC. Formatting by a pattern takes twice as long.
    return value.isoformat()[:19] + "Z" if isinstance(value, datetime) else str(value)
