"""What reading takes and gives: options, limits, what was detected, rows, and what was found in a row."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from schemas.phones import Reason

Container = Literal["plain", "gzip", "zip"]
Format = Literal["csv", "xlsx", "jsonl"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a person may fix; all else is found by content. Columns are header texts or 0-based positions."""

    phone_columns: tuple[str | int, ...] = ()
    area_column: str | int | None = None
    region: str = "US"
    sheet: str | None = None
    header: bool | None = None
    encoding: str | None = None
    delimiter: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a file may make us do.

    A line of 131,072 characters is below 900 kB in any encoding and with any JSON escapes, so every row fits into one
    Kafka message. Excel allows 16,384 columns and 1,048,576 rows. Ten million rows take twelve days at ten calls a
    second. Real spreadsheets and texts compress 3 to 50 times; a bomb does so 1,000 times.
    """

    max_rows: int = 10_000_000
    max_columns: int = 16_384
    max_filled_columns: int = 256
    """Short rows are filled up to the header's width if it has no more columns than this."""
    max_header_chars: int = 1_000
    """Of one column."""
    max_header_bytes: int = 256_000
    """Of all columns together, as JSON: they go with every event and checkpoint of the upload."""
    max_cell_chars: int = 131_072
    max_line_chars: int = 131_072
    max_unzipped_bytes: int = 1024 * MIB
    max_ratio: int = 200
    ratio_free_bytes: int = 16 * MIB
    """The ratio counts only beyond so many unpacked bytes: small files of blanks compress well and do no harm."""
    max_text_bytes: int = 1024 * MIB
    """Of all cells together, as JSON, however few bytes the file has: one text may stand for a thousand cells."""
    max_shared_text_bytes: int = 80 * MIB
    """Texts of a workbook that must be at hand while its sheets are read."""
    max_blank_sheet_bytes: int = 128 * MIB
    """XML of a sheet between two rows that hold something: styled blank rows."""
    child_memory_bytes: int = 256 * MIB
    child_sample_cpu_seconds: int = 30
    child_cpu_seconds: int = 600
    """Of a workbook's reader: a million rows take some twenty."""
    child_idle_seconds: float = 120.0
    """How long a workbook's reader may give no row while one is awaited, on however busy a machine."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a line falls into cells. `quote` is empty when quotes mean nothing; `escape` is a character before quotes."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    skip_blank_after_delimiter: bool = False


SINGLE_COLUMN = Dialect()
"""Nothing but a column of texts, perhaps quoted."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column as the check page shows it: three samples and the share of its filled cells that are phones."""

    index: int
    header: str | None
    samples: tuple[str, ...]
    phone_share: float


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What a file turned out to be, and all that is needed to parse it again exactly as before.

    `encoding` is Python's codec name (`xlsx` for workbooks). Columns are 0-based positions; `columns` holds the header
    texts and is empty without a header. `skipped_lines` are the lines (or sheet rows) above the header.
    """

    format: Format
    encoding: str
    delimiter: str | None
    sheet: str | None
    sheets: tuple[str, ...]
    header: bool
    skipped_lines: int
    columns: tuple[str, ...]
    phone_columns: tuple[int, ...]
    other_phone_columns: tuple[int, ...]
    area_column: int | None
    area_column_candidates: tuple[int, ...]
    region: str
    container: Container = "plain"
    dialect: Dialect = SINGLE_COLUMN
    keyed: bool = False
    """JSON Lines of objects: the columns are their keys, and no record is the header."""
    profiles: tuple[ColumnSummary, ...] = field(default=(), compare=False)
    """For people only: a restart does not need them, so they are not part of what `from_dict` needs."""

    def column_name(self, column: int) -> str:
        """The header text of a column, or its position as text."""
        named = column < len(self.columns) and self.columns[column].strip()
        return named or str(column)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what only a restart needs stands under `quoting`."""
        whole = asdict(self)
        dialect = whole.pop("dialect")
        whole["quoting"] = {"container": whole.pop("container"), "keyed": whole.pop("keyed"), "dialect": dialect}
        return whole

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "FileLayout":
        """The inverse of `to_dict`; unknown keys are ignored, lists become tuples."""
        quoting = dict(stored["quoting"])
        plain = {f.name: stored[f.name] for f in fields(cls) if f.name in stored and f.name != "profiles"}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        return cls(
            **values,
            container=quoting["container"],
            keyed=quoting["keyed"],
            dialect=Dialect(**quoting["dialect"]),
        )


class SourceRow(NamedTuple):
    """A data row: its number from 1, its first line in the file (or row of the sheet), its cells as decoded."""

    row: int
    line: int
    cells: tuple[str, ...]


class FoundPhone(NamedTuple):
    """A usable row: its phone (E.164), the column it came from, and whether it had to be searched for in the cell."""

    phone: str
    column: int
    split: bool


class Unusable(NamedTuple):
    """A row without a phone. `value` is the cell as it came; `detail` says what to do and holds no phone."""

    code: Reason
    column: int
    value: str
    detail: str
