"""The simulated API's answers: the same for a phone whenever it is asked, and as documented for the special ones."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.simulator import answers
from deploy.local.simulator.answers import reply_to

FIELDS = {"line_type", "carrier", "country", "reachable", "do_not_call"}
phones = st.builds("+1{}555{:04d}".format, st.sampled_from([212, 415, 702]), st.integers(100, 199))


def crowd(size: int = 4_000) -> list[str]:
    return [f"+1415{number:07d}" for number in range(2_000_000, 2_000_000 + size)]


@given(phone=phones, seed=st.integers(0, 5), attempt=st.integers(1, 6), fail_rate=st.sampled_from([0.0, 0.5]))
def test_the_same_question_gets_the_same_answer(phone: str, seed: int, attempt: int, fail_rate: float) -> None:
    first = reply_to(phone, seed=seed, attempt=attempt, fail_rate=fail_rate)
    assert first == reply_to(phone, seed=seed, attempt=attempt, fail_rate=fail_rate)


def test_the_crowd_is_mixed() -> None:
    answers = [json.loads(reply_to(phone, seed=1, attempt=1, fail_rate=0).body) for phone in crowd()]
    valid = [answer for answer in answers if answer["valid"]]
    assert 0.03 < 1 - len(valid) / len(answers) < 0.07
    assert {answer.get("line_type") for answer in valid} >= {"mobile", "landline", "voip", "toll_free"}
    assert len({answer.get("carrier") for answer in valid}) > 4
    assert {answer.get("reachable") for answer in valid} == {True, False, None}
    assert {answer.get("do_not_call") for answer in valid} == {True, False, None}
    assert {answer.get("country") for answer in valid} == {"US", None}
    missing = Counter(name for answer in valid for name in FIELDS - answer.keys())
    assert missing.keys() == FIELDS


def test_another_seed_gives_other_answers() -> None:
    by_seed = [[reply_to(phone, seed=seed, attempt=1, fail_rate=0) for phone in crowd(200)] for seed in (1, 2)]
    assert by_seed[0] != by_seed[1]


def test_the_fail_rate_is_the_share_of_attempts_that_fail() -> None:
    statuses = Counter(reply_to(phone, seed=1, attempt=1, fail_rate=0.2).status for phone in crowd())
    assert 0.17 < statuses[503] / statuses.total() < 0.23


@pytest.mark.parametrize(
    ("phone", "status", "manner"),
    [
        ("+19315550100", 0, "silence"),
        ("+19345550101", 500, "answer"),
        ("+19365550102", 429, "answer"),
        ("+19375550103", 401, "answer"),
        ("+19455550104", 0, "hang_up"),
    ],
)
def test_special_numbers_never_succeed(phone: str, status: int, manner: str) -> None:
    for attempt in (1, 2, 9):
        reply = reply_to(phone, seed=1, attempt=attempt, fail_rate=0)
        assert (reply.status, reply.manner) == (status, manner)


def test_too_many_requests_comes_with_a_time_to_wait() -> None:
    assert reply_to("+19365550100", seed=1, attempt=1, fail_rate=0).retry_after_seconds == 1


def test_garbage_is_no_json_or_too_long() -> None:
    even, odd = (reply_to(phone, seed=1, attempt=1, fail_rate=0) for phone in ("+19385550100", "+19385550101"))
    assert (even.status, odd.status) == (200, 200)
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(even.body)
    assert len(odd.body) > 64 * 1024


def test_a_not_valid_number() -> None:
    assert json.loads(reply_to("+19405550100", seed=1, attempt=1, fail_rate=0).body)["valid"] is False


@pytest.mark.parametrize("failures", [0, 1, 3, 9])
def test_a_number_that_succeeds_after_failures(failures: int) -> None:
    phone = f"+1941555010{failures}"
    statuses = [reply_to(phone, seed=1, attempt=attempt, fail_rate=0).status for attempt in range(1, 12)]
    assert statuses == [500] * failures + [200] * (11 - failures)


def test_the_special_numbers_are_documented() -> None:
    documented = answers.__doc__
    assert documented is not None
    for area in ("931", "934", "936", "937", "938", "940", "941", "945"):
        assert f"+1 {area} 555 01xx" in documented
