"""What an upload has paid is never forgotten while its cap depends on it."""

from collections import Counter

from services.lookup.gate.counters import CallCounters
from tests.unit.lookup.gate.bench import BROKEN, Bench
from tests.unit.lookup.gate.requests import id_of, request
from tests.unit.lookup.gate.test_status import status


def test_a_call_in_progress_is_within_the_cap_until_it_turns_out_not_to_be_made() -> None:
    counters = CallCounters()
    counters.begins("u1")
    assert [counters.may_pay("u1", cap) for cap in (None, 0, 1, 2)] == [True, False, False, True]
    counters.begins("u1")
    counters.ends("u1", written=False)
    assert [counters.may_pay("u1", cap) for cap in (1, 2)] == [False, True]
    counters.ends("u1", written=True)
    assert [counters.may_pay("u1", cap) for cap in (1, 2)] == [False, True]
    assert counters.calls_by_upload == {"u1": 1}


def test_who_paid_last_stands_last() -> None:
    counters = CallCounters()
    for upload in ("u1", "u2", "u1"):
        counters.begins(upload)
        counters.ends(upload, written=True)
    assert list(counters.calls_by_upload.items()) == [("u2", 1), ("u1", 2)]


def test_the_higher_count_is_right_when_a_gate_leads_again() -> None:
    bench = Bench(max_attempts=1)
    bench.open("u1", max_calls=9)
    bench.want(request(1, "u1"), request(2, "u1"))
    bench.call(BROKEN)
    said = status(bench)
    assert said.dead_letters == 1
    more = CallCounters(retries=3, dead_letters=4, calls_by_upload=Counter({id_of("u1"): 5}))
    more.resume_from(said, [])
    assert (more.retries, more.dead_letters, more.calls_by_upload) == (3, 4, {id_of("u1"): 5})
    new = CallCounters()
    new.resume_from(said, [])
    assert (new.retries, new.dead_letters, new.calls_by_upload) == (0, 1, {id_of("u1"): 1})


def test_what_an_upload_paid_is_forgotten_with_it() -> None:
    bench = Bench()
    bench.open("u1", max_calls=1)
    said = status(bench).model_copy(update={"capped_complete": False})
    counters = CallCounters(calls_by_upload=Counter({"u2": 3}), retries_by_upload=Counter({"u2": 1}))
    counters.resume_from(said, ["u1", "u2"])
    assert [counters.may_pay(upload, 4) for upload in ("u1", "u2")] == [False, True], "u2 has counted itself"
    for upload in ("u1", "u2", "unknown"):
        counters.forget(upload)
    assert counters.may_pay("u1", 1)
    assert not counters.calls_by_upload
    assert not counters.retries_by_upload


def test_an_upload_that_is_told_to_have_paid_nothing_may_pay() -> None:
    bench = Bench()
    bench.open("u1", max_calls=1)
    bench.want(request(1, "u1"))
    counters = CallCounters()
    counters.resume_from(status(bench).model_copy(update={"capped_complete": False}), [id_of("u1"), id_of("u2")])
    assert [counters.may_pay(id_of(upload), 1) for upload in ("u1", "u2")] == [True, False]
