"""A value that one part takes, every part takes: tried on readers and writers of each topic, and read in the source."""

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.codec import UndecodableRecord, decode, encode
from schemas.lookups import Answered, LookupRequest, LookupResult
from schemas.rows import UploadRow
from schemas.topics import TOPICS, Topic
from schemas.uploads import FINISHED
from schemas.values import MAX_INT32, MOST_COLUMNS
from services.assembler.domain.decoding import decode_partition
from services.assembler.domain.positions import Offsets
from services.ingest.feeder.preparation.row_file import PreparedReader, PreparedWriter
from services.ingest.feeder.row_values import usable_value
from services.lookup.gate.fold import Fold
from services.lookup.gate.log_record import LogRecord
from services.lookup.worker.known_phones import update_of
from services.lookup.worker.request_policy import requests_for, wanted_row
from services.lookup.worker.sent_keys import SentKeys
from tests.fixtures.hostile import hostile_records, some_hostile_records
from tests.fixtures.ids import upload_id

SERVICES: Final = Path(__file__).parents[2] / "services"
NOW: Final = datetime(2026, 3, 1, 9, tzinfo=UTC)
TIMESTAMP_MS: Final = int(NOW.timestamp() * 1000)
SEED: Final = 11
Reader = Callable[[bytes | None], object]
"""Reads a value as one part does; raises UndecodableRecord."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A record as it lies in a log."""

    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    offset: int = 0
    timestamp: int = TIMESTAMP_MS


def join_reads(name: str) -> Reader:
    """The join, on a topic by its name in `Offsets`."""

    def read(value: bytes | None) -> object:
        batch = decode_partition(0, Offsets(), [(name, [Placed(value, b"+14155550100")])])
        if batch.undecodable:
            raise UndecodableRecord
        return batch

    return read


def gate_reads(topic: Topic) -> Reader:
    """The gate, by the fold of the log. The key is the one that the value's writer gives it."""

    def read(value: bytes | None) -> object:
        Fold().apply(LogRecord(topic, key_of(topic, value), value, 0, TIMESTAMP_MS))
        return None

    return read


def key_of(topic: Topic, value: bytes | None) -> str:
    if topic is topics.LOOKUP_REQUESTS:
        with suppress(UndecodableRecord):
            return decode(LookupRequest, value).key
    return "+14155550100"


def message_says(topic: Topic) -> Reader:
    (model,) = topic.messages
    return lambda value: decode(model, value, timestamp_ms=TIMESTAMP_MS)


READERS: Final[dict[Topic, dict[str, Reader]]] = {
    topics.UPLOAD_ROWS: {
        "worker": lambda value: wanted_row(value, timestamp_ms=TIMESTAMP_MS),
        "join": join_reads("upload_rows"),
        "message": message_says(topics.UPLOAD_ROWS),
    },
    topics.LOOKUP_RESULTS: {
        "worker": lambda value: update_of(b"+14155550100", value, timestamp_ms=TIMESTAMP_MS),
        "join": join_reads("lookup_results"),
        "gate": gate_reads(topics.LOOKUP_RESULTS),
    },
    topics.UPLOAD_EVENTS: {"join": join_reads("upload_events"), "gate": gate_reads(topics.UPLOAD_EVENTS)},
    topics.LOOKUP_REQUESTS: {
        "gate": gate_reads(topics.LOOKUP_REQUESTS),
        "message": message_says(topics.LOOKUP_REQUESTS),
    },
    topics.REJECTED_ROWS: {
        "join": join_reads("rejected_rows"),
        "message": message_says(topics.REJECTED_ROWS),
    },
    topics.PLAN_QUESTIONS: {
        "join": join_reads("plan_questions"),
        "message": message_says(topics.PLAN_QUESTIONS),
    },
}
"""Readers that are pure and work on bytes; that the others read by the same definition is said by their source."""
each_topic = pytest.mark.parametrize("topic", READERS, ids=lambda topic: topic.name)


def takes(read: Reader, value: bytes | None) -> bool:
    try:
        read(value)
    except UndecodableRecord:
        return False
    return True


def who_takes(topic: Topic, value: bytes | None) -> set[str]:
    return {who for who, read in READERS[topic].items() if takes(read, value)}


def assert_all_or_none(topic: Topic, value: bytes | None, what: str) -> bool:
    took = who_takes(topic, value)
    assert took in (set(), set(READERS[topic])), f"{what}: only {took} took it"
    return bool(took)


@each_topic
def test_hostile_values_are_taken_by_all_readers_or_by_none(topic: Topic) -> None:
    """A value alone: a record without one is about its key."""
    records = [*hostile_records(topic)] if topic is topics.UPLOAD_ROWS else some_hostile_records(topic, 600, seed=SEED)
    outcomes = {assert_all_or_none(topic, each.value, each.what) for each in records if each.value is not None}
    assert outcomes == {True, False}


EDGES: Final = st.sampled_from([-1, 0, 1, MAX_INT32, MAX_INT32 + 1, 2**63, 10**20, 1.0, 1.5, "1", True, None])
TEXTS: Final = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "\0", "x" * 200, "x" * 201, "\ud83d\ude00", upload_id("u").upper()])
)
TIMES: Final = st.one_of(
    st.sampled_from(
        [
            "2026-03-01T09:00:00Z",
            "2026-03-02T09:00:00Z",
            "2026-03-02T09:00:00.000001Z",
            "2026-03-02T18:00:00+09:00",
            "2026-03-02T18:00:01+09:00",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-12:00",
            "2099-01-01T00:00:00Z",
            1_772_355_600,
            "2026-03-01T09:00:00",
        ]
    ),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
)
PHONES: Final = st.sampled_from(
    ["+14155550100", "+1234", "+123", "+123456789012345", "+1234567890123456", "+0123456", "14155550100", "+1415\n"]
)
CELLS: Final = st.one_of(
    st.lists(TEXTS, max_size=4),
    st.sampled_from([None, [1, None], "cells", ["x"] * MOST_COLUMNS, ["x"] * (MOST_COLUMNS + 1), [["x"]], {"0": "x"}]),
)
ANY_ROW: Final = st.fixed_dictionaries(
    {
        "upload_id": st.one_of(st.just(upload_id("u")), TEXTS),
        "row": st.one_of(st.just(7), EDGES),
        "phone": PHONES,
        "owner": st.one_of(st.just("local"), TEXTS),
        "wanted_at": TIMES,
        "accept_since": TIMES,
    },
    optional={
        "line": st.one_of(st.just(8), EDGES),
        "round": st.one_of(st.just(0), EDGES),
        "cells": CELLS,
        "priority": st.one_of(st.integers(0, 6), EDGES),
        "again": st.one_of(st.booleans(), EDGES),
        "later_field": st.none(),
    },
)


@given(ANY_ROW)
def test_worker_and_join_take_the_same_rows_and_read_the_same_in_them(row: dict[str, Any]) -> None:
    value = json.dumps(row).encode()
    if not assert_all_or_none(topics.UPLOAD_ROWS, value, "a row"):
        return
    message = decode(UploadRow, value, timestamp_ms=TIMESTAMP_MS)
    wanted = wanted_row(value, timestamp_ms=TIMESTAMP_MS)
    (stored,) = decode_partition(0, Offsets(), [("upload_rows", [Placed(value)])]).rows
    for field in ("upload_id", "phone", "round"):
        assert getattr(wanted, field) == getattr(stored, field) == getattr(message, field)
    assert (wanted.owner, wanted.priority, wanted.again) == (message.owner, message.priority, message.again)
    assert (wanted.wanted_at, wanted.accept_since) == (message.wanted_at, message.accept_since)
    assert (stored.row, stored.line, tuple(json.loads(stored.cells))) == (message.row, message.line, message.cells)


@given(
    st.binary(max_size=300) | st.recursive(st.none() | TEXTS | EDGES, st.lists).map(lambda v: json.dumps(v).encode())
)
def test_garbage_is_taken_by_none(value: bytes) -> None:
    for topic in READERS:
        assert who_takes(topic, value) == set()


@given(ANY_ROW)
def test_what_follows_from_a_row_that_the_worker_takes_is_taken_all_the_way(row: dict[str, Any]) -> None:
    """Row → request → result: the gate takes the request, and worker, join and gate the result that names it."""
    value = json.dumps(row).encode()
    if not takes(READERS[topics.UPLOAD_ROWS]["worker"], value):
        return
    wanted = wanted_row(value, timestamp_ms=TIMESTAMP_MS)
    (request,) = requests_for([wanted], known={}, sent=SentKeys(1))
    assert who_takes(topics.LOOKUP_REQUESTS, encode(request)) == set(READERS[topics.LOOKUP_REQUESTS])
    result = LookupResult(
        phone=request.phone,
        outcome="ok",
        provider="generic",
        looked_up_at=max(NOW, request.wanted_at),
        attempts=1,
        answers=(Answered(upload_id=request.upload_id, round=request.round),),
    )
    assert who_takes(topics.LOOKUP_RESULTS, encode(result)) == set(READERS[topics.LOOKUP_RESULTS])


@given(
    st.integers(1, MAX_INT32),
    st.integers(0, MAX_INT32),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=5).map(tuple),
)
def test_a_row_of_a_file_as_the_feeder_writes_it_is_taken_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, number: int, line: int, cells: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    with PreparedWriter(folder) as writer:
        writer.usable(row=number, line=line, cells=cells, phone="+123456789012345")
    (row,) = PreparedReader(folder).take(1)
    value = usable_value(row, HEAD)
    assert assert_all_or_none(topics.UPLOAD_ROWS, value, "a row of a file")
    message = decode(UploadRow, value, timestamp_ms=TIMESTAMP_MS)
    assert (message.row, message.line, message.cells) == (number, line, cells)


HEAD: Final = (
    json.dumps(
        {
            "upload_id": upload_id("u"),
            "round": 0,
            "owner": "local",
            "priority": 3,
            "wanted_at": "2026-03-01T09:00:00Z",
            "accept_since": "2026-02-01T09:00:00Z",
        }
    ).encode()[:-1]
    + b","
)
"""What the feeder puts before each row of an upload."""


OWN: Final = {
    "KnownPhone": "values of the worker's own table",
    "ReaderOutcome": "a file that the feeder's child wrote",
}
"""Models of no topic that are decoded all the same: nobody else writes or reads them."""
FROM_A_LOG: Final = {model.__name__ for topic in TOPICS for model in topic.messages} | {"UPLOAD_EVENT"}
AGAIN: Final = {
    "services/lookup/gate/scheduler.py: LookupStatus": "the last status: whatever it says, only counts follow",
}
"""Decoded without its record's timestamp, with the reason."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """A call of `decode` or `decode_one_of`: where, of what, and whether with the record's timestamp."""

    path: str
    model: str
    with_timestamp: bool


def decodings() -> Iterator[Decoding]:
    for path in sorted(SERVICES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("decode", "decode_one_of") and isinstance(node.args[0], ast.Name):
                given = any(keyword.arg == "timestamp_ms" for keyword in node.keywords)
                yield Decoding(str(path.relative_to(SERVICES.parent)), node.args[0].id, given)


def test_every_part_decodes_by_the_messages_of_the_registry() -> None:
    assert {each.model for each in decodings()} <= FROM_A_LOG | OWN.keys()


def test_every_part_decodes_with_the_time_of_the_record() -> None:
    without = {
        f"{each.path}: {each.model}" for each in decodings() if each.model in FROM_A_LOG and not each.with_timestamp
    }
    assert without <= AGAIN.keys()


def test_a_request_is_what_a_row_asked_for() -> None:
    """Every field of a request is one of the row's, of the same type."""
    for name, field in LookupRequest.model_fields.items():
        of_row = UploadRow.model_fields[name]
        assert (field.annotation, field.metadata) == (of_row.annotation, of_row.metadata), name


WRITTEN_ONCE: Final = {
    "|failed": "failure_key or parse_result_key of schemas.lookups",
    "[1-9][0-9]{3,14}": "PHONE_PATTERN of schemas.values",
}
"""Texts that only the contract spells, with the name that stands for each."""
PRODUCT: Final = [path for top in ("services", "deploy") for path in sorted((SERVICES.parent / top).rglob("*.py"))]


def nodes_of(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def literals(path: Path) -> Iterator[str]:
    """The texts in a module that something is built of: those with a space in them explain something."""
    for node in nodes_of(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value


@pytest.mark.parametrize("text", WRITTEN_ONCE)
def test_what_the_contract_spells_nobody_else_spells(text: str) -> None:
    found = [str(path.relative_to(SERVICES.parent)) for path in PRODUCT if any(text in each for each in literals(path))]
    assert found == [], f"use {WRITTEN_ONCE[text]}"


def test_the_states_of_a_finished_upload_are_listed_once() -> None:
    found = [
        f"{path.relative_to(SERVICES.parent)}:{node.lineno}"
        for path in PRODUCT
        for node in nodes_of(path)
        if isinstance(node, ast.Tuple | ast.Set | ast.List)
        if {item.value for item in node.elts if isinstance(item, ast.Constant)} == set(FINISHED)
    ]
    assert found == [], "use FINISHED of schemas.uploads"
