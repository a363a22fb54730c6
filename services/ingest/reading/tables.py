"""Decides from a sample of records where a table begins and which columns hold phones, for all formats alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.ingest.reading.area_codes import area_candidates
from services.ingest.reading.cells import is_placeholder
from services.ingest.reading.columns import Evidence, evidence_of, phone_columns
from services.ingest.reading.headers import top_of
from services.ingest.reading.model import (
    SINGLE_COLUMN,
    ColumnSummary,
    Container,
    Dialect,
    FileLayout,
    Format,
    Limits,
    ReadOptions,
)
from services.ingest.reading.refusals import FileRefused

SAMPLES_OF_COLUMN: Final = 3
LONGEST_SAMPLE_CHARS: Final = 60

Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class TableSample:
    """Records from the top of a table with their lines, and rows from further down."""

    top: Sequence[tuple[int, Cells]]
    further: Sequence[Cells] = ()


@dataclass(frozen=True, slots=True)
class ParserSettings:
    """How the file around a table is to be read."""

    format: Format
    encoding: str
    container: Container
    dialect: Dialect | None = None
    """None: the format knows no delimiter."""
    keyed: bool = False
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    lines_above: int = 0
    """Number of lines above the table that are not part of it: a `sep=` line."""


@dataclass(frozen=True, slots=True)
class Table:
    """The properties of a table. Columns are 0-based positions."""

    header: bool
    skipped_lines: int
    columns: tuple[str, ...]
    phone_columns: tuple[int, ...]
    other_phone_columns: tuple[int, ...]
    area_column: int | None
    area_column_candidates: tuple[int, ...]
    profiles: tuple[ColumnSummary, ...]
    score: float
    """The score of the best phone column; 0 if there is none."""

    def within(self, file: ParserSettings, region: str) -> FileLayout:
        """The layout of the file that holds this table."""
        return FileLayout(
            format=file.format,
            encoding=file.encoding,
            delimiter=None if file.dialect is None else file.dialect.delimiter,
            sheet=file.sheet,
            sheets=file.sheets,
            header=self.header,
            skipped_lines=max(file.lines_above, self.skipped_lines),
            columns=self.columns,
            phone_columns=self.phone_columns,
            other_phone_columns=self.other_phone_columns,
            area_column=self.area_column,
            area_column_candidates=self.area_column_candidates,
            region=region,
            container=file.container,
            dialect=file.dialect or SINGLE_COLUMN,
            keyed=file.keyed,
            profiles=self.profiles,
        )


def table_of(sample: TableSample, options: ReadOptions, *, keys: tuple[str, ...] | None = None) -> Table:
    """Find the header and the phone columns of a sample. `keys`: the header, if the format itself names the columns.

    Raises FileRefused: `unknown-column`, `ambiguous-column`. A table without phones has no `phone_columns`.
    """
    cells = [record for _, record in sample.top]
    if keys is None:
        top = top_of(cells, options.region, wanted=options.header)
        first = top.titles + top.header
        columns = tuple(cells[top.titles]) if top.header and top.titles < len(cells) else ()
        skipped = _lines_above(sample.top, top.titles) if top.header else 0
        header = top.header
    else:
        first, columns, skipped, header = 0, keys, 0, True
    rows = [*cells[first:], *sample.further]
    evidence = evidence_of(rows, columns, options.region)
    found = phone_columns(evidence)
    chosen = tuple(dict.fromkeys(position_of(name, columns, len(evidence)) for name in options.phone_columns))
    used = chosen or tuple(found[:1])
    area = None if options.area_column is None else position_of(options.area_column, columns, len(evidence))
    candidates = area_candidates(rows, columns, used[0], region=options.region) if used else []
    return Table(
        header=header,
        skipped_lines=skipped,
        columns=columns,
        phone_columns=used,
        other_phone_columns=tuple(column for column in found if column not in used and column != area),
        area_column=area,
        area_column_candidates=tuple(candidates),
        profiles=tuple(_profile(one, rows, columns) for one in evidence),
        score=max((evidence[column].score for column in found[:1]), default=0.0),
    )


def filled_width(columns: Sequence[str], limits: Limits) -> int:
    """How many cells each row has at least. 0 for a very wide header: a million short rows would each be as wide."""
    return len(columns) if len(columns) <= limits.max_filled_columns else 0


def position_of(name: str | int, columns: Sequence[str], width: int) -> int:
    """The 0-based position of a column given by header text (exact, else ignoring case and blanks) or position."""
    if isinstance(name, str):
        for wanted, headers in ((name, columns), (_folded(name), [_folded(header) for header in columns])):
            positions = [at for at, header in enumerate(headers) if header == wanted]
            if len(positions) > 1:
                raise FileRefused(
                    "ambiguous-column",
                    f"{len(positions)} columns are called {name!r}. Give the position instead: {_listed(positions)}.",
                )
            if positions:
                return positions[0]
    if isinstance(name, int) or (name.isascii() and name.isdecimal() and len(name) < 7):
        if 0 <= int(name) < width:
            return int(name)
        raise FileRefused("unknown-column", f"There is no column {name}: the columns are 0 to {width - 1}.")
    known = _listed([header for header in columns if header.strip()][:30])
    hint = f"The columns are {known}." if known else "The file has no header: give a position, counted from 0."
    raise FileRefused("unknown-column", f"There is no column {name!r}. {hint}")


def _folded(header: str) -> str:
    return header.strip().casefold()


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _lines_above(top: Sequence[tuple[int, Cells]], titles: int) -> int:
    return top[titles][0] - 1 if titles < len(top) else 0


def _profile(evidence: Evidence, rows: Sequence[Cells], columns: Sequence[str]) -> ColumnSummary:
    at = evidence.column
    filled = dict.fromkeys(row[at] for row in rows[:200] if at < len(row) and not is_placeholder(row[at]))
    samples = tuple(cell[:LONGEST_SAMPLE_CHARS] for cell in list(filled)[:SAMPLES_OF_COLUMN])
    return ColumnSummary(at, columns[at] if at < len(columns) else None, samples, round(evidence.valid_share, 3))
