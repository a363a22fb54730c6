"""Where the join goes on, what it reads first, when it is stuck, which topics it refuses, what the sweep takes up."""

from dataclasses import replace
from datetime import timedelta

import pytest
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from schemas.settings import Settings
from services.assembler.domain.positions import Goals, LogLost, Offsets, first_reads, held_back
from services.assembler.domain.stall import LOOK_SECONDS, PATIENCE_SECONDS, StallDetector, Stalled
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.zombies import (
    PATIENCE,
    figures,
    joined_up_to,
    lacking_for_good,
    uploads_held,
    zombie_uploads,
)
from services.assembler.join.batches import decode_all, decode_records, in_order, is_environment
from services.assembler.join.cluster import OTHERS, TOGETHER, Cluster, check_topics
from services.assembler.join.transaction.rows import RowsAppeared
from services.assembler.store.fences import FenceLost
from services.runtime.process import RefusedToStart
from tests.unit.assembler.join.join_log import PHONES, START, Log, LogRecord, Reader, gate_status
from tests.unit.assembler.join.test_joining import OTHER, U, World

ENDS = {(topic, 0): 50 for topic in Offsets._fields}
STARTS = dict.fromkeys(ENDS, 10)


def test_a_partition_that_was_never_read_begins_where_its_log_begins() -> None:
    assert first_reads({0: Offsets()}, STARTS, ENDS) == STARTS


def test_a_partition_that_was_read_goes_on_where_it_was_left() -> None:
    assert set(first_reads({0: Offsets(20, 20, 20, 20, 20)}, STARTS, ENDS).values()) == {20}


@pytest.mark.parametrize(
    ("offsets", "sentence"),
    [
        (Offsets(5, 20, 20, 20, 20), "Partition 0 of upload-rows begins at 10, after 5"),
        (Offsets(20, 20, 51, 20, 20), "Partition 0 of lookup-results ends at 50, before 51"),
    ],
)
def test_a_log_that_lost_what_is_yet_to_be_read_is_refused(offsets: Offsets, sentence: str) -> None:
    with pytest.raises(LogLost, match=sentence):
        first_reads({0: offsets}, STARTS, ENDS)


def test_each_topic_of_each_partition_goes_on_on_its_own() -> None:
    begins = STARTS | {(topic, 1): 0 for topic in Offsets._fields}
    ends = ENDS | {(topic, 1): 9 for topic in Offsets._fields}
    reads = first_reads({0: Offsets(11, 12, 13, 14, 15), 1: Offsets(1, 2, 3, 4, 0)}, begins, ends)
    for partition, offsets in ((0, (11, 12, 13, 14, 15)), (1, (1, 2, 3, 4, 0))):
        assert tuple(reads[topic, partition] for topic in Offsets._fields) == offsets


def test_a_log_of_which_all_was_read_or_that_begins_where_it_was_left_is_whole() -> None:
    assert set(first_reads({0: Offsets(*[50] * 5)}, STARTS, ENDS).values()) == {50}
    assert set(first_reads({0: Offsets(*[10] * 5)}, STARTS, ENDS).values()) == {10}
    with pytest.raises(LogLost):
        first_reads({0: Offsets(1, 20, 20, 20, 20)}, STARTS, ENDS)


def test_plan_questions_may_expire_unread() -> None:
    reads = first_reads({0: Offsets(20, 20, 20, 20, 5)}, STARTS, ENDS)
    assert reads["plan_questions", 0] == 10


def test_events_are_read_first_then_results_then_what_is_judged_by_them() -> None:
    goals = Goals(ENDS)
    positions = dict.fromkeys(ENDS, 0)
    assert held_back(goals, positions) == set(Offsets._fields) - {"upload_events"}
    positions["upload_events", 0] = 50
    assert held_back(goals, positions) == {"upload_rows", "rejected_rows", "plan_questions"}
    positions["lookup_results", 0] = 50
    assert held_back(goals, positions) == frozenset()


def test_a_topic_is_read_when_all_its_partitions_are() -> None:
    goals = Goals({("upload_events", 0): 5, ("upload_events", 1): 3, ("upload_rows", 0): 9})
    assert goals.reached("upload_events", {("upload_events", 0): 5, ("upload_events", 1): 4})
    assert not goals.reached("upload_events", {("upload_events", 0): 5, ("upload_events", 1): 2})
    assert not goals.reached("upload_rows", {})
    assert not Goals({("upload_rows", 0): 1}).reached("upload_rows", {})
    assert Goals({("upload_rows", 0): 0}).reached("upload_rows", {})


def test_getting_nothing_for_a_minute_although_something_is_there_is_a_stall() -> None:
    stall = StallDetector()
    behind = {("upload_rows", 0): 49}
    stall.check(behind, ENDS, now=0)
    stall.check(behind, ENDS, now=PATIENCE_SECONDS - 1)
    with pytest.raises(Stalled):
        stall.check(behind, ENDS, now=PATIENCE_SECONDS)
    stall.got_something()
    stall.check(behind, ENDS, now=PATIENCE_SECONDS + 1)


def test_what_stalls_is_named_and_a_join_that_got_all_meanwhile_is_not_stalled() -> None:
    stall, behind = StallDetector(), dict.fromkeys(ENDS, 50) | {("upload_events", 0): 49}
    stall.check(behind, ENDS, now=0)
    stall.check(dict.fromkeys(ENDS, 50), ENDS, now=PATIENCE_SECONDS - 1)
    stall.check(behind, ENDS, now=PATIENCE_SECONDS)
    stall.check(behind, ENDS, now=2 * PATIENCE_SECONDS - 1)
    with pytest.raises(Stalled, match="upload_events 0 has records"):
        stall.check(behind, ENDS, now=2 * PATIENCE_SECONDS)


def test_a_log_of_which_nothing_was_read_counts_as_unread() -> None:
    stall, ends = StallDetector(), {("upload_rows", 0): 1}
    stall.check({}, ends, now=0)
    with pytest.raises(Stalled):
        stall.check({}, ends, now=PATIENCE_SECONDS)


def test_kafka_is_asked_for_the_ends_now_and_then() -> None:
    stall = StallDetector()
    looks = [now for now in range(1, 41) if stall.look_is_due(float(now))]
    assert looks == [10, 20, 30, 40]
    assert LOOK_SECONDS == 10.0


def test_an_idle_join_is_not_stalled() -> None:
    stall = StallDetector()
    for now in (0, 2 * PATIENCE_SECONDS):
        stall.check(dict.fromkeys(ENDS, 50), ENDS, now=now)


def test_one_record_after_the_other_is_joined_as_whole_batches_are() -> None:
    """Events first, then results, then what is judged by them, partition by partition, each log in its order."""
    records = {
        partition: {
            topic: [LogRecord(partition, offset, 0, b"k", b"{") for offset in (3, 4)] for topic in Offsets._fields
        }
        for partition in (1, 0)
    }
    del records[1]["rejected_rows"]
    reads = in_order(records)
    topics = ["upload_events", "lookup_results", "upload_rows", "rejected_rows", "plan_questions"]
    expected = [
        (partition, topic, offset)
        for partition in (0, 1)
        for topic in topics
        for offset in (3, 4)
        if topic in records[partition]
    ]
    assert [(partition, topic, record.offset) for partition, topic, record in reads] == expected
    fences = {0: Offsets(), 1: Offsets(*[4] * 5)}
    (first, second) = decode_all(reads, fences)
    at_once = decode_records(records, fences)
    assert [(batch.partition, batch.start, batch.end) for batch in at_once] == [
        (batch.partition, batch.start, batch.end) for batch in (first, second)
    ]
    for one, other in zip(at_once, (first, second), strict=True):
        assert sorted(one.undecodable, key=str) == sorted(other.undecodable, key=str)
    assert (first.start, first.end, len(first.undecodable)) == (Offsets(), Offsets(*[5] * 5), 10)
    assert (second.partition, second.end, len(second.undecodable)) == (1, Offsets(5, 4, 5, 5, 5), 4)
    assert [batch.partition for batch in decode_all(reads, {1: Offsets()})] == [1], "the other was taken by somebody"
    assert decode_records(records, {}) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaError(), True),
        (FenceLost(), True),
        (RowsAppeared(), True),
        (OSError(), True),
        (MemoryError(), True),
        (OperationalError("", {}, Exception()), True),
        (DataError("", {}, Exception()), False),
        (IntegrityError("", {}, Exception()), False),
        (ValueError(), False),
        (KeyError(), False),
    ],
)
def test_what_fails_by_its_surroundings_is_told_from_what_fails_by_its_records(
    error: Exception, *, expected: bool
) -> None:
    assert is_environment(error) is expected


def test_topics_that_are_read_together_must_be_partitioned_alike() -> None:
    counts = {topic.name: 8 for topic in TOGETHER + OTHERS}
    check_topics(Cluster("c", counts), Settings())
    with pytest.raises(RefusedToStart, match="upload-rows 6"):
        check_topics(Cluster("c", counts | {"upload-rows": 6}), Settings())


@pytest.fixture(scope="module")
def waiting() -> StoredUpload:
    world = World(Reader(Log()))
    world.open()
    world.row(1, PHONES[0])
    world.fed(2)
    world.reader.read_all()
    return world.reader.upload(U)


def test_what_waits_and_is_not_held_by_the_gate_is_a_zombie(waiting: StoredUpload) -> None:
    assert zombie_uploads([waiting], [waiting], gate_status((OTHER, 9, 0, 0))) == [waiting]
    assert zombie_uploads([waiting], [waiting], gate_status((U, 0, 0, 0))) == [waiting]


def test_a_gate_that_names_all_that_it_holds_is_taken_at_its_word(waiting: StoredUpload) -> None:
    status = gate_status()
    for held, expected in ((), [waiting]), ((U,), []), ((OTHER,), [waiting]):
        named = status.model_copy(update={"held": held, "held_complete": True, "lanes_total": 5000})
        assert zombie_uploads([waiting], [waiting], named) == expected


def test_a_list_that_was_cut_is_not_taken_as_whole(waiting: StoredUpload) -> None:
    cut = gate_status((OTHER, 9, 0, 0)).model_copy(update={"lanes_total": 2})
    old = gate_status(*[(OTHER, 1, 0, 0)] * 1000)
    for status in (cut, old):
        assert uploads_held(status) is None
        assert zombie_uploads([waiting], [waiting], status) == []
    whole = cut.model_copy(update={"lanes_total": 1})
    assert uploads_held(whole) == frozenset({OTHER})
    assert uploads_held(gate_status(*[(OTHER, 1, 0, 0)] * 999)) == frozenset({OTHER})
    assert uploads_held(old.model_copy(update={"lanes_total": 1000})) == frozenset({OTHER})


@pytest.mark.parametrize("lane", [(U, 1, 0, 0), (U, 0, 1, 0), (U, 0, 0, 1)])
def test_what_the_gate_holds_in_any_way_is_none(waiting: StoredUpload, lane: tuple[str, int, int, int]) -> None:
    assert zombie_uploads([waiting], [waiting], gate_status(lane)) == []


def test_what_moved_while_the_sweep_looked_is_left_for_the_next(waiting: StoredUpload) -> None:
    fed_more, asked_again = replace(waiting, waiting=2), replace(waiting, round=1)
    settled = replace(waiting, waiting=0, answered=1)
    for after in (fed_more, asked_again, settled):
        assert zombie_uploads([waiting], [after], gate_status()) == []
    assert zombie_uploads([], [waiting], gate_status()) == []
    assert figures([waiting], {U: settled}, republished=0).completed == 1


def test_a_producer_gets_some_seconds_for_the_rows_that_it_announced(waiting: StoredUpload) -> None:
    assert lacking_for_good([waiting], [waiting], now=START + PATIENCE + timedelta(seconds=9)) == [waiting]
    assert lacking_for_good([waiting], [waiting], now=START + PATIENCE - timedelta(seconds=1)) == []
    assert lacking_for_good([waiting], [], now=START + PATIENCE * 2) == []
    assert waiting.fed_at is not None
    assert lacking_for_good([waiting], [waiting], now=waiting.fed_at + PATIENCE) == [waiting]
    assert lacking_for_good([replace(waiting, fed_at=None)], [waiting], now=START + PATIENCE * 2) == []


def test_a_sweep_tells_what_waited_and_what_became_of_it(waiting: StoredUpload) -> None:
    one, other = (replace(waiting, id=name, waiting=5, answered=2, failed=3) for name in (U, OTHER))
    now = {U: replace(one, waiting=0, answered=4, failed=6), OTHER: replace(other, answered=1, failed=0)}
    swept = figures([one, other], now, republished=7)
    assert (swept.examined, swept.republished, swept.completed, swept.failed) == (10, 7, 2, 3)
    assert figures([one], {}, republished=0).completed == 0, "it was deleted meanwhile"


def test_joined_means_joined_on_every_partition() -> None:
    fences = {0: Offsets(upload_rows=5), 1: Offsets(upload_rows=4)}
    assert joined_up_to(fences, {0: 5, 1: 4, 2: 0}, "upload_rows")
    assert not joined_up_to(fences, {0: 5, 1: 5}, "upload_rows")
    assert not joined_up_to(fences, {2: 1}, "upload_rows")
