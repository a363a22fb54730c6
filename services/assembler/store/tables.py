"""Owns the shape of the database: every table, its keys and indexes; SQLite and PostgreSQL alike.

JSON is kept as text, so that NUL characters, which JSON escapes, survive anywhere.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    bindparam,
    false,
    text,
)
from sqlalchemy.types import TypeEngine

from services.assembler.domain.result_columns import COLUMNS, SqlKind
from services.assembler.domain.row_state import State
from services.assembler.store.instant import Instant

SCHEMA_VERSION = max(4, *(column.since for column in COLUMNS))
_KINDS: dict[SqlKind, type[TypeEngine[Any]]] = {"text": Text, "integer": Integer, "moment": BigInteger}


def is_open() -> ColumnElement[bool]:
    """The condition of the partial indexes on open rows, word for word: only then SQLite sees that they fit."""
    return rows.c.state.in_([bindparam(None, int(state), literal_execute=True) for state in OPEN_STATES])


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""`cluster_id` (Kafka's), `epoch` (this database's id), `schema_version`."""

fences = Table(
    "fences",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    _count("upload_rows"),
    _count("rejected_rows"),
    _count("lookup_results"),
    _count("upload_events"),
    _count("plan_questions"),
    _count("lookups_answered"),
    _count("lookups_failed"),
    _count("lookup_retries"),
)
"""One row per partition number: the next unread offset of each topic. Taken by compare-and-set in each transaction.

The last three columns count results of the partition, for the queue's totals.
"""

uploads = Table(
    "uploads",
    metadata,
    Column("no", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("partition", Integer),
    # From UploadOpened. All are null while only rows, results or commands have come.
    Column("created_at", Instant),
    Column("name", Text),
    Column("owner", Text),
    Column("operation", Text),
    Column("parent_id", Text),
    Column("file_bytes", BigInteger),
    Column("sha256", Text),
    Column("file", Text),
    Column("options", Text),
    Column("priority", SmallInteger, nullable=False, server_default=text("3")),
    # From UploadChecking and UploadChecked.
    Column("checking_at", Instant),
    Column("check_id", Text),
    Column("detected", Text),
    Column("preview", Text),
    Column("plan_rows", BigInteger),
    Column("plan_with_phone", BigInteger),
    Column("plan_usable", BigInteger),
    Column("plan_split", BigInteger),
    Column("plan_distinct", BigInteger),
    Column("plan_known", BigInteger),
    # From commands, UploadRefused and UploadFed.
    Column("refused", Text),
    Column("wanted_at", Instant),
    Column("accept_since", Instant),
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("cancelled_at", Instant),
    Column("deleted_at", Instant),
    Column("round", Integer, nullable=False, server_default=text("0")),
    # The newest round that was for all failed rows, and the later ones that were for some of them, as JSON.
    Column("full_round", Integer, nullable=False, server_default=text("0")),
    Column("partial_rounds", Text),
    Column("fed_at", Instant),
    Column("fed_rows", BigInteger),
    Column("rows_missing", Boolean, nullable=False, server_default=false()),
    # Counted: rows by state first.
    *(_count(state.name) for state in State),
    _count("calls"),
    _count("retries"),
    Column("distinct_phones", BigInteger),
    Column("last_settled_at", Instant),
    # Derived, kept for filters and for change detection.
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("finished_at", Instant),
    _count("version"),
    _count("published_version"),
    # When this database first saw a record of the upload: the age of an upload that is never opened.
    Column("first_seen_at", Instant),
    Index("uploads_by_age", "created_at", "id"),
    Index("uploads_by_state", "state", "created_at"),
    Index(
        "uploads_unpublished",
        "partition",
        sqlite_where=text("published_version < version"),
        postgresql_where=text("published_version < version"),
    ),
)
"""One row per upload. `version` grows with each transaction that changes the upload (`seq` of its progress)."""

OPEN_STATES = (State.waiting, State.failed)
"""States that a result may still change."""
_OPEN = text(f"state IN ({', '.join(str(int(state)) for state in OPEN_STATES)})")

rows = Table(
    "rows",
    metadata,
    Column("upload_no", Integer, primary_key=True, autoincrement=False),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer),
    Column("state", SmallInteger, nullable=False),
    Column("round", Integer, nullable=False),
    Column("phone", Text),
    Column("result_id", BigInteger),
    Column("cells", Text, nullable=False),
    Column("error", Text),
    # Null in rows that older versions stored; such a row stands over all others.
    Column("place", BigInteger),
    # Only rows that a result may still change are indexed: known rows cost no index at all.
    Index("rows_open_by_phone", "phone", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("rows_open_by_upload", "upload_no", "state", "row", sqlite_where=_OPEN, postgresql_where=_OPEN),
    sqlite_with_rowid=False,
)
"""One row per row of an upload. `cells` is a JSON array of strings, `error` a `RowError` as JSON (rejected rows).

`place` is the place of the row's record: of two records of one row the lower place stands, in whatever order they come.
"""

results = Table(
    "results",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("phone", Text, nullable=False, index=True),
    *(Column(column.name, _KINDS[column.kind], nullable=column.nullable) for column in COLUMNS),
    Column("error_code", Text),
    Column("error", Text),
    Column("answers", Text, nullable=False),
)
"""Results that can answer a row. `error` is an `AttemptError` as JSON, `answers` a JSON array of [upload id, round]."""

tallies = Table(
    "tallies",
    metadata,
    Column("upload_no", Integer, primary_key=True, autoincrement=False),
    Column("verdict", Text, primary_key=True),
    Column("line_type", Text, primary_key=True),
    _count("n"),
)
"""Answered rows of an upload by verdict and line type."""

row_changes = Table(
    "row_changes",
    metadata,
    Column("upload_no", Integer, primary_key=True, autoincrement=False),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("rows", Text, nullable=False),
    Column("more", Boolean, nullable=False),
)
"""A ring per upload: which rows the last versions changed (`rows`: JSON array of numbers, cut short when `more`)."""

plan_answers = Table(
    "plan_answers",
    metadata,
    Column("upload_no", Integer, primary_key=True, autoincrement=False),
    Column("check_id", Text, primary_key=True),
    Column("batch", Integer, primary_key=True, autoincrement=False),
    Column("last", Boolean, nullable=False),
    Column("known", Integer, nullable=False),
)
"""How many phones of each batch of plan questions were known."""

dismissals = Table(
    "dismissals",
    metadata,
    Column("event_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("upload_no", Integer, nullable=False, index=True),
    Column("error_code", Text),
    Column("after", BigInteger, nullable=False),
    Column("before", BigInteger, nullable=False),
)
"""Dismissed failures: those looked up from `after` on and before `before`, microseconds."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("upload_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("published", Boolean, nullable=False, server_default=false()),
    Index("outbox_unpublished", "id", sqlite_where=text("published = 0"), postgresql_where=text("NOT published")),
)
"""Completion events: written with the change that completed the upload, published afterwards. `id` is `ce_id`."""

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("upload_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("audit_by_time", "at", "id"),
)
"""The audit list: each event on `upload-events` that a person caused. `detail`: the rest of the event as JSON.

`upload_id` is empty for an action that is about no upload.
"""

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Text, primary_key=True),
    Column("requested_at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("finished_at", Instant),
    Column("examined", BigInteger),
    Column("republished", BigInteger),
    Column("completed", BigInteger),
    Column("failed", BigInteger),
    Column("problem", Text),
)
"""Requested sweeps, and their figures."""

erasures = Table(
    "erasures",
    metadata,
    Column("phone_hash", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)
"""Keyed hashes of phones that were erased; rows published before `at` are stored without the phone."""
