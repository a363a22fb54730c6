"""The feeder against a made-up rest of the pipeline: in any order of things, bounds hold and rows get through."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.ingest.feeder.admission import allowed_rows, left_out_reason
from services.ingest.feeder.upload_state import FeederUpload, JoinCounts, opened_upload
from services.ingest.feeder.window import TOTAL_ROWS, TRANSIT_ROWS, TURN_ROWS, WINDOW_ROWS, Pace, Rotation
from tests.fixtures.ids import upload_id
from tests.unit.ingest.builders import opened, progress


def test_what_counts_as_settled_and_as_stored() -> None:
    counts = progress(rows=100, answered=5, failed=3, rejected=2, waiting=20, unprocessed=70, calls=4, known=9)
    assert JoinCounts.of(counts) == JoinCounts(rows=10, stored=30, calls=4, known=9)


def test_a_sample_ends_after_its_rows() -> None:
    state = opened_upload(opened(sample_rows=5), offset=0)
    assert allowed_rows(state, JoinCounts(), fed_rows=3, active=1, share=1.0) == 2
    assert left_out_reason(state, JoinCounts(), fed_rows=4) is None
    assert "first 5 rows" in (left_out_reason(state, JoinCounts(), fed_rows=5) or "")


def test_a_cap_on_calls_leaves_rows_out_once_it_is_used_up() -> None:
    state = opened_upload(opened(max_calls=4), offset=0)
    assert allowed_rows(state, JoinCounts(), fed_rows=0, active=1, share=1.0) == 4
    assert allowed_rows(state, JoinCounts(rows=4, stored=4, calls=0), fed_rows=4, active=1, share=1.0) == 4
    assert allowed_rows(state, JoinCounts(rows=3, stored=4, calls=3), fed_rows=4, active=1, share=1.0) == 0
    assert left_out_reason(state, JoinCounts(rows=3, stored=4, calls=3), fed_rows=4) is None
    assert "4 calls" in (left_out_reason(state, JoinCounts(rows=4, stored=4, calls=4), fed_rows=4) or "")


@pytest.mark.parametrize("left_out", [1, TURN_ROWS, 50 * TURN_ROWS])
def test_rows_that_were_left_out_hold_up_none_of_the_rest(left_out: int) -> None:
    state = opened_upload(opened(max_calls=4), offset=0)
    used_up = JoinCounts(rows=4, stored=4, calls=4)
    assert left_out_reason(state, used_up, fed_rows=4 + left_out) is not None
    assert allowed_rows(state, used_up, fed_rows=4 + left_out, active=1, share=1.0) == TURN_ROWS


@dataclass(slots=True)
class Fed:
    """An upload in the model, with what the rest of the pipeline has made of it."""

    state: FeederUpload
    rows: int
    fed: int = 0
    left_out: int = 0
    join_counts: JoinCounts = field(default_factory=JoinCounts)

    @property
    def looked_up(self) -> int:
        return self.fed - self.left_out


class Feeding(RuleBasedStateMachine):
    """Uploads are fed in turns; the model of the join stores and settles rows whenever Hypothesis says so."""

    @initialize(
        sizes=st.lists(st.tuples(st.integers(1, 120_000), st.none() | st.integers(0, 3000)), min_size=1, max_size=5)
    )
    def open_uploads(self, sizes: list[tuple[int, int | None]]) -> None:
        self.now = 0.0
        self.pace = Pace()
        self.rotation = Rotation()
        self.uploads = {
            f"u{i}": Fed(opened_upload(opened(upload_id(f"u{i}"), max_calls=max_calls), offset=i), rows)
            for i, (rows, max_calls) in enumerate(sizes)
        }

    def room(self) -> dict[str, int]:
        active = [key for key, upload in self.uploads.items() if upload.fed < upload.rows]
        return {
            key: allowed_rows(
                self.uploads[key].state,
                self.uploads[key].join_counts,
                fed_rows=self.uploads[key].fed,
                active=len(active),
                share=1.0,
            )
            for key in active
        }

    @rule(turns=st.integers(1, 60), elapsed=st.floats(0, 2))
    def feed(self, turns: int, elapsed: float) -> None:
        self.now += elapsed
        for _ in range(turns):
            room = self.room()
            owners = dict.fromkeys(room, "o")
            turn = self.rotation.next_turn(room, owners=owners, allowance=self.pace.allowance(self.now))
            if turn is None:
                return
            upload = self.uploads[turn[0]]
            rows = min(turn[1], upload.rows - upload.fed)
            if left_out_reason(upload.state, upload.join_counts, fed_rows=upload.fed) is not None:
                upload.left_out += rows
            upload.fed += rows
            self.pace.spend(rows)

    @rule(index=st.integers(0, 4), share=st.floats(0, 1))
    def store(self, index: int, share: float) -> None:
        upload = self.uploads.get(f"u{index}")
        if upload is not None:
            stored = upload.join_counts.stored + int((upload.looked_up - upload.join_counts.stored) * share)
            upload.join_counts = replace(upload.join_counts, stored=stored)

    @rule(index=st.integers(0, 4), share=st.floats(0, 1), unknown_share=st.floats(0, 1))
    def settle(self, index: int, share: float, unknown_share: float) -> None:
        upload = self.uploads.get(f"u{index}")
        if upload is not None:
            more = int((upload.join_counts.stored - upload.join_counts.rows) * share)
            calls = int(more * unknown_share)
            join_counts = upload.join_counts
            upload.join_counts = replace(join_counts, rows=join_counts.rows + more, calls=join_counts.calls + calls)

    @rule(lag_rows=st.sampled_from([0, 19_000, 21_000, 10**6]))
    def lag(self, lag_rows: int) -> None:
        self.pace.lag_rows = lag_rows

    @rule(index=st.integers(0, 4))
    def cancel(self, index: int) -> None:
        upload = self.uploads.get(f"u{index}")
        if upload is not None:
            upload.state = replace(upload.state, cancelled=True)

    @precondition(lambda self: any(upload.fed < upload.rows for upload in self.uploads.values()))
    @rule()
    def once_everything_is_settled_there_is_room(self) -> None:
        for upload in self.uploads.values():
            upload.join_counts = replace(upload.join_counts, rows=upload.looked_up, stored=upload.looked_up)
        assert any(rows > 0 for rows in self.room().values())
        assert self.pace.allowance(self.now + 1) > 0

    @invariant()
    def bounds_hold(self) -> None:
        open_rows = {key: u.looked_up - u.join_counts.rows for key, u in self.uploads.items()}
        transit = {key: u.looked_up - u.join_counts.stored for key, u in self.uploads.items()}
        assert all(rows <= WINDOW_ROWS for rows in open_rows.values())
        assert sum(open_rows.values()) <= TOTAL_ROWS
        assert sum(transit.values()) <= len(self.uploads) * max(TRANSIT_ROWS, TURN_ROWS)

    @invariant()
    def caps_hold(self) -> None:
        for upload in self.uploads.values():
            if upload.state.max_calls is not None:
                still_possible = upload.looked_up - upload.join_counts.rows
                assert upload.join_counts.calls + still_possible <= upload.state.max_calls


Feeding.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFeeding = Feeding.TestCase
