"""Owns the types of reading: options, limits, the layout of a file, its rows, and the phone of a row.

The reader runs in a child process that does not import pydantic, which would take 10 MB. So `ReadOptions`, `FileLayout`
and `ColumnSummary` are dataclasses, and `UploadOptions`, `Detected` and `ColumnProfile` of `schemas.uploads` are the
messages with the same fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from schemas.phones import Reason

Container = Literal["plain", "gzip", "zip"]
Format = Literal["csv", "xlsx", "jsonl"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options that a person may choose. The rest is found by content. Columns are header texts or 0-based positions."""

    phone_columns: tuple[str | int, ...] = ()
    area_column: str | int | None = None
    region: str = "US"
    sheet: str | None = None
    header: bool | None = None
    encoding: str | None = None
    delimiter: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on the work that a file may cause.

    A line of 131,072 characters is below 900 kB in any encoding and with any JSON escapes, so every row fits into one
    Kafka message. Excel allows 16,384 columns and 1,048,576 rows. Ten million rows take twelve days at ten calls a
    second. Real spreadsheets and texts compress 3 to 50 times; a bomb does so 1,000 times.
    """

    max_rows: int = 10_000_000
    max_columns: int = 16_384
    max_filled_columns: int = 256
    """Short rows are filled up to the header's width if it has no more columns than this."""
    max_header_chars: int = 1_000
    """Most characters of the header of one column."""
    max_header_bytes: int = 256_000
    """Most bytes of all headers together, as JSON: each event and checkpoint of the upload holds them."""
    max_cell_chars: int = 131_072
    max_line_chars: int = 131_072
    max_unzipped_bytes: int = 1024 * MIB
    max_ratio: int = 200
    ratio_free_bytes: int = 16 * MIB
    """The ratio applies only beyond so many unpacked bytes: small files of blanks compress well and do no harm."""
    max_text_bytes: int = 1024 * MIB
    """Most bytes of all cells together, as JSON: even in a small file, a thousand cells may share one text."""
    max_shared_text_bytes: int = 80 * MIB
    """Most bytes of the shared texts of a workbook, which are kept while its sheets are read."""
    max_blank_sheet_bytes: int = 128 * MIB
    """Most bytes of XML between two filled rows of a sheet: styled blank rows."""
    child_memory_bytes: int = 256 * MIB
    child_sample_cpu_seconds: int = 30
    child_cpu_seconds: int = 600
    """CPU time of a workbook's reader: a million rows take about twenty seconds."""
    child_idle_seconds: float = 120.0
    """Longest wait for the next row from a workbook's reader, also on a busy machine."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a line is split into cells. `quote` is empty if quotes mean nothing. `escape` stands before a quote."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    skip_blank_after_delimiter: bool = False


SINGLE_COLUMN = Dialect()
"""A single column of texts, perhaps quoted."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column as the check page shows it: three samples, and the share of phones among its filled cells.

    Its message is `schemas.uploads.ColumnProfile`."""

    index: int
    header: str | None
    samples: tuple[str, ...]
    phone_share: float


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The layout of a file: everything that is needed to parse it again exactly as before.

    Its message is `schemas.uploads.Detected`; `to_dict` and `from_dict` convert to it and back.

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
    """Whether the records are JSON objects: then the columns are their keys, and no record is the header."""
    profiles: tuple[ColumnSummary, ...] = field(default=(), compare=False)
    """For people only. Parsing does not need them, so `from_dict` leaves them out."""

    def column_name(self, column: int) -> str:
        """The header text of a column, or its position as text."""
        named = column < len(self.columns) and self.columns[column].strip()
        return named or str(column)

    def to_dict(self) -> dict[str, Any]:
        """The fields of a `Detected` message, without `width`. `quoting` holds those that only the parser needs."""
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
    """A row without a phone. `value` is the original cell. `detail` says what to do and holds no phone."""

    code: Reason
    column: int
    value: str
    detail: str
