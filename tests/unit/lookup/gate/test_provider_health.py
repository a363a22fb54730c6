"""Down is judged and probed with phones of different uploads: bad ones keep nobody waiting, an outage burns no row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lookup.gate.provider_health import (
    FAILURES_IN_A_ROW,
    MOST_SUSPECTS,
    PHONES_AT_LEAST,
    PROBE_SECONDS,
    ProviderHealth,
)
from services.lookup.providers.protocol import Reply
from tests.unit.lookup.gate.bench import BROKEN, OK, Bench
from tests.unit.lookup.gate.requests import NOW, name_of, phone, request

CALLS_PER_SECOND = 10


@dataclass
class Run:
    """A gate that makes ten calls a second of virtual time; who was called when, what was given up."""

    reply: Callable[[str, float], Reply]
    bench: Bench = field(default_factory=Bench)
    seconds: float = 0.0
    answered: dict[str, float] = field(default_factory=dict)
    given_up: dict[str, float] = field(default_factory=dict)
    calls: list[tuple[float, str, str]] = field(default_factory=list)

    def want(self, numbers: range, upload: str) -> None:
        self.bench.want(*(request(number, upload, owner=f"owner of {upload}") for number in numbers))

    def go_on(self, seconds: float, *, until_empty: bool = False) -> "Run":
        end = self.seconds + seconds
        while self.seconds < end and not (until_empty and not self.bench.scheduler.fold.queue.lane_count):
            step = 1 / CALLS_PER_SECOND
            if not self._call():
                # Nothing happens until time alone changes something.
                change_at = self.bench.scheduler.next_change_at()
                step = max(step, (change_at or self.bench.seconds() + seconds) - self.bench.seconds())
            step = min(step, max(end - self.seconds, 0.001))
            self.bench.wait(step)
            self.seconds += step
        return self

    def _call(self) -> bool:
        call = self.bench.scheduler.next_call(self.bench.now)
        if call is None:
            return False
        call.written = True
        self.calls.append((self.seconds, call.phone, name_of(call.payer)))
        records = self.bench.end(call, self.reply(call.phone, self.seconds))
        if records.dead_letter is not None:
            self.given_up[call.phone] = self.seconds
        elif records.results:
            self.answered[call.phone] = self.seconds
        return True


def always_bad(numbers: range) -> Callable[[str, float], Reply]:
    bad = {phone(number) for number in numbers}
    return lambda called, _at: BROKEN if called in bad else OK


def down_until(end: float) -> Callable[[str, float], Reply]:
    return lambda _called, at: BROKEN if at < end else OK


@settings(deadline=None, max_examples=40)
@given(bad=st.integers(5, 60), before=st.floats(0, 300), others=st.integers(1, 3))
def test_bad_phones_of_one_upload_keep_another_owners_waiting_for_no_more_than_its_turn(
    bad: int, before: float, others: int
) -> None:
    run = Run(always_bad(range(bad)))
    run.want(range(bad), "bad")
    run.go_on(before)
    run.want(range(5_000, 5_000 + others), "good")
    begun_at = run.seconds
    run.go_on(3)
    assert {phone(number) for number in range(5_000, 5_000 + others)} <= run.answered.keys()
    assert max(run.answered.values()) - begun_at <= 2


@settings(deadline=None, max_examples=30)
@given(bad=st.integers(1, 40), good=st.integers(0, 60), is_first=st.booleans())
def test_phones_that_always_fail_have_their_dead_letters_and_all_others_are_answered(
    bad: int, good: int, is_first: bool
) -> None:
    run = Run(always_bad(range(bad)))
    run.want(range(bad), "u1")
    run.want(range(5_000, 5_000 + good), "u1" if is_first else "u2")
    run.go_on(4 * 3600, until_empty=True)
    assert run.given_up.keys() == {phone(number) for number in range(bad)}
    assert run.answered.keys() == {phone(number) for number in range(5_000, 5_000 + good)}
    assert run.bench.accounted.total() == len(run.calls)


def test_twenty_phones_alone_that_always_fail_end_within_minutes() -> None:
    run = Run(always_bad(range(20)))
    run.want(range(20), "u1")
    run.go_on(3600, until_empty=True)
    assert len(run.given_up) == 20
    assert max(run.given_up.values()) < 7 * PROBE_SECONDS
    per_phone = len(run.calls) / 20
    assert per_phone <= 7, "each is tried as often as any phone, and once more at most"


def test_the_same_file_twice_is_no_proof_of_two_uploads() -> None:
    run = Run(always_bad(range(20)))
    run.want(range(20), "u1")
    run.want(range(20), "u2")
    run.go_on(3600, until_empty=True)
    assert len(run.given_up) == 20
    assert max(run.given_up.values()) < 7 * PROBE_SECONDS


@settings(deadline=None, max_examples=40)
@given(
    uploads=st.lists(st.integers(1, 200), min_size=2, max_size=5),
    outage=st.floats(1, 1200),
)
def test_an_outage_burns_no_row_of_several_uploads(uploads: list[int], outage: float) -> None:
    """As long as somebody is left to ask, one a minute, plus five minutes for each phone once nobody is."""
    run = Run(down_until(min(outage, 60.0 * sum(uploads))))
    for number, size in enumerate(uploads):
        run.want(range(number * 1_000, number * 1_000 + size), f"u{number}")
    if sum(uploads) < 20:
        # So few that twenty failures in a row are each phone's own several attempts.
        return
    run.go_on(4 * 3600, until_empty=True)
    assert run.given_up == {}
    assert len(run.answered) == sum(uploads)


@settings(deadline=None, max_examples=30)
@given(phones=st.integers(30, 300), outage=st.floats(1, 1200))
def test_an_outage_burns_no_row_of_an_upload_alone(phones: int, outage: float) -> None:
    run = Run(down_until(min(outage, 60.0 * (phones - 20) + 240)))
    run.want(range(phones), "u1")
    run.go_on(6 * 3600, until_empty=True)
    assert run.given_up == {}
    assert len(run.answered) == phones


def test_while_the_provider_is_down_one_call_a_minute_is_made_with_each_uploads_phones_in_turn() -> None:
    run = Run(down_until(1e9))
    for number in range(4):
        run.want(range(number * 1_000, number * 1_000 + 50), f"u{number}")
    run.go_on(5)
    assert run.bench.scheduler.health.state == "provider_down"
    run.calls.clear()
    run.go_on(8 * PROBE_SECONDS + 1)
    assert len(run.calls) == 8
    assert sorted(upload for _, _, upload in run.calls[:4]) == ["u0", "u1", "u2", "u3"]
    assert len({called for _, called, _ in run.calls}) == 8, "each probe asks a phone that has not failed yet"


def test_more_phones_than_can_be_bad_by_themselves_are_a_provider_that_is_down() -> None:
    count = MOST_SUSPECTS + 20
    run = Run(down_until(3 * 3600))
    run.want(range(count), "u1")
    run.go_on(6 * 3600, until_empty=True)
    assert run.given_up == {}


def test_leftover_bad_phones_do_not_stop_a_large_upload() -> None:
    """Their backoffs end at the same time, and they go first: twenty failures in a row, of suspects."""
    bad = {phone(number) for number in range(30)}
    run = Run(always_bad(range(30)))
    run.want(range(30), "u1")
    run.want(range(1_000, 3_000), "u1")
    run.go_on(600, until_empty=True)
    good = [at for at, called, _ in run.calls if called not in bad]
    longest_gap = max(later - earlier for earlier, later in pairwise(good))
    assert longest_gap <= PROBE_SECONDS + 1
    assert len(run.answered) == 2_000


@dataclass
class Left:
    """What may be called now, as health is told."""

    other: bool = False
    untried: bool = False

    def has_other(self, _upload_ids: object) -> bool:
        return self.other

    def has_untried(self, _phones: object) -> bool:
        return self.untried


U1 = frozenset({"u1"})


def fail(health: ProviderHealth, number: int, left: Left, *, uploads: frozenset[str] = U1, probe: bool = False) -> bool:
    return health.failed(phone(number), uploads, NOW, probe=probe, error=f"failure {number}", backlog=left)


def down(*, uploads: frozenset[str] = U1, left: Left | None = None) -> ProviderHealth:
    health = ProviderHealth()
    for number in range(FAILURES_IN_A_ROW):
        fail(health, number, left or Left(untried=True), uploads=uploads)
    assert health.state == "provider_down"
    return health


def test_nineteen_failures_are_no_question_and_twenty_are() -> None:
    health, left = ProviderHealth(), Left(untried=True)
    for number in range(FAILURES_IN_A_ROW - 1):
        assert fail(health, number, left)
    assert (health.state, health.probe_at, health.error) == ("up", None, None)
    assert health.may_call(NOW, left)
    fail(health, 19, left)
    assert (health.state, health.error) == ("provider_down", "failure 19")
    assert health.probe_at == NOW + timedelta(seconds=PROBE_SECONDS)


@pytest.mark.parametrize(("phones", "is_down"), [(PHONES_AT_LEAST - 1, False), (PHONES_AT_LEAST, True)])
def test_failures_of_too_few_phones_are_no_question(phones: int, is_down: bool) -> None:
    health = ProviderHealth()
    for number in range(4 * FAILURES_IN_A_ROW):
        fail(health, number % phones, Left(), uploads=frozenset({f"u{number}"}))
    assert (health.state == "provider_down") is is_down
    assert (health.longest_patience_seconds == PROBE_SECONDS) is is_down


def test_while_only_failures_come_a_phone_waits_a_minute() -> None:
    health = ProviderHealth()
    waits = []
    for number in range(FAILURES_IN_A_ROW):
        fail(health, number, Left(other=True))
        waits.append(health.longest_patience_seconds)
    assert waits == [0.0] * (FAILURES_IN_A_ROW - 1) + [PROBE_SECONDS]
    health.answered(phone(0), probe=False)
    assert health.longest_patience_seconds == 0.0


def test_one_probe_at_a_time_once_a_minute() -> None:
    health, left = down(), Left(untried=True)
    later = NOW + timedelta(seconds=PROBE_SECONDS)
    assert not health.may_call(later - timedelta(seconds=0.001), left)
    assert health.may_call(later, left)
    assert health.call_begins("u1")
    assert not health.may_call(later, left)
    health.not_called(probe=False)
    assert not health.may_call(later, left), "another call, from before, is no probe"
    health.not_called(probe=True)
    assert health.may_call(later, left)


def test_what_was_on_its_way_when_the_pause_began_moves_no_probe_and_ends_no_pause() -> None:
    health = down()
    health.call_begins("u1")
    health.probe_at = NOW - timedelta(seconds=1)
    assert not fail(health, 50, Left(untried=True))
    assert (health.probe_at, health.is_probing, health.error) == (NOW - timedelta(seconds=1), True, "failure 19")
    health.answered(phone(51), probe=False)
    assert (health.state, health.is_probing) == ("provider_down", True)
    health.answered(phone(52), probe=True)
    assert (health.state, health.is_probing, health.error) == ("up", False, None)


def test_the_phone_of_another_upload_is_called_at_once_if_one_explains_all_failures() -> None:
    assert down().may_call(NOW, Left(other=True))
    assert not down().may_call(NOW, Left(other=False))
    mixed = ProviderHealth()
    for number in range(FAILURES_IN_A_ROW):
        fail(mixed, number, Left(untried=True), uploads=frozenset({f"u{number % 2}"}))
    assert mixed.state == "provider_down"
    assert not mixed.may_call(NOW, Left(other=True))


def test_uploads_are_probed_in_turn() -> None:
    health = down()
    for upload in ("u1", "u2", "u1"):
        health.call_begins(upload)
    assert health.last_probes["u1"] > health.last_probes["u2"] > 0


def test_attempts_are_forgiven_once_and_only_those_of_a_provider_that_is_down() -> None:
    health = ProviderHealth()
    fail(health, 1, Left(other=True))
    assert not health.forgive()
    health = down()
    assert health.forgive() == {phone(number): 1 for number in range(FAILURES_IN_A_ROW)}
    assert not health.forgive()


def test_a_failed_probe_counts_only_if_nobody_else_is_left_to_ask() -> None:
    uploads = frozenset[str]()
    health = down(uploads=uploads)
    assert not fail(health, 50, Left(untried=True), uploads=uploads, probe=True)
    assert not fail(health, 51, Left(), uploads=uploads, probe=True), "it had not failed before"
    assert fail(health, 51, Left(), uploads=uploads, probe=True)
    assert (health.state, health.error) == ("provider_down", "failure 51")


def test_phones_of_one_upload_are_bad_when_nobody_else_is_left_to_ask() -> None:
    health = down()
    assert not fail(health, 50, Left(), probe=True)
    assert (health.state, health.probe_at, health.error) == ("up", None, None)


def test_a_refused_account_is_probed_and_its_refusals_are_held_against_no_phone() -> None:
    health, left = ProviderHealth(), Left()
    assert health.refused_account(phone(1), NOW, probe=False, error="status 401")
    assert (health.state, health.error) == ("account_problem", "status 401")
    assert health.probe_at == NOW + timedelta(seconds=PROBE_SECONDS)
    later = NOW + timedelta(seconds=30)
    assert health.refused_account(phone(2), later, probe=False, error="status 403")
    assert health.probe_at == NOW + timedelta(seconds=PROBE_SECONDS), "only a probe moves the next one"
    assert set(health.failed_phones) == {phone(1), phone(2)}
    assert not fail(health, 3, left)
    assert health.error == "status 403"
    assert not fail(health, 3, left, probe=True)
    assert health.error == "failure 3"
    health.answered(phone(2), probe=True)
    assert health.state == "up"
    assert not health.refused_account(phone(1), NOW, probe=False, error="x"), "others were served"
    assert health.refused_account(phone(2), NOW, probe=False, error="x"), "it was served itself"


def test_a_phone_that_has_its_result_is_judged_anew() -> None:
    health = ProviderHealth()
    health.refused_account(phone(1), NOW, probe=False, error="x")
    health.answered(phone(2), probe=True)
    health.forget(phone(1))
    assert health.refused_account(phone(1), NOW, probe=False, error="x")


def test_slow_down_is_meant_for_all_once_it_is_said_to_two_phones_in_a_row() -> None:
    health = ProviderHealth()
    assert [health.throttled(phone(number)) for number in (1, 1, 2, 1)] == [False, False, True, True]
    health.answered(phone(3), probe=False)
    assert not health.throttled(phone(1))


def test_a_phone_that_was_given_up_is_one_more_to_ask_when_it_is_wanted_again() -> None:
    health = down()
    health.forget(phone(0))
    assert phone(0) not in health.failed_phones
    assert phone(1) in health.failed_phones


def test_more_bad_phones_than_are_remembered_are_no_trouble() -> None:
    health = ProviderHealth()
    for number in range(10_100):
        fail(health, number, Left(other=True))
    health.answered(phone(0), probe=False)
    assert health.state == "up"
