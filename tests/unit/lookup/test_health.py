"""Down is judged and probed with phones of different uploads: bad ones keep nobody waiting, an outage burns no row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.lookup.health import MOST_SUSPECTS, PROBE_SECONDS
from services.lookup.providers.protocol import Reply
from tests.unit.lookup.bench import BROKEN, OK, Bench
from tests.unit.lookup.requests import name_of, phone, request

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
        while self.seconds < end and not (until_empty and not self.bench.core.fold.queue.lane_count):
            step = 1 / CALLS_PER_SECOND
            if not self._call():
                # Nothing happens until time alone changes something.
                change_at = self.bench.core.next_change_at()
                step = max(step, (change_at or self.bench.seconds() + seconds) - self.bench.seconds())
            step = min(step, max(end - self.seconds, 0.001))
            self.bench.wait(step)
            self.seconds += step
        return self

    def _call(self) -> bool:
        call = self.bench.core.next_call(self.bench.now)
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
    assert run.bench.core.health.standing == "provider_down"
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
