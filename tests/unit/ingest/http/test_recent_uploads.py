"""What was opened lately: whoever reads which topic first, the counts come out the same."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.upload_events import DeleteUpload, UploadEvent
from schemas.uploads import UploadProgress, UploadState
from services.ingest.http.recent_uploads import RecentUploads
from tests.fixtures.ids import upload_id
from tests.unit.ingest.builders import START, at, opened, progress

A, B, C = map(upload_id, "abc")
KEYED = idempotent_upload_id("o", "key")


def reported(upload_id: str, state: UploadState) -> UploadProgress:
    return progress(upload_id).model_copy(update={"state": state})


def fold(*messages: UploadEvent | UploadProgress) -> RecentUploads:
    lately = RecentUploads()
    for message in messages:
        if isinstance(message, UploadProgress):
            lately.progress(message)
        else:
            lately.event(message)
    return lately


def test_the_first_opening_of_an_idempotent_id_is_kept() -> None:
    plain = new_upload_id(now_ms=0)
    lately = fold(opened(KEYED, seconds=1), opened(KEYED, seconds=2, region="GB"), opened(plain))
    assert lately.first(KEYED) == opened(KEYED, seconds=1)
    assert lately.first(plain) is None


def test_an_upload_counts_until_it_is_finished_or_deleted() -> None:
    events = [opened(A), opened(B), opened(C)]
    assert fold(*events).unfinished("o") == 3
    ends: list[UploadEvent | UploadProgress] = [
        reported(A, "completed"),
        reported(A, "completed"),
        DeleteUpload(upload_id=B, at=START),
    ]
    assert fold(*events, *ends).unfinished("o") == 1
    assert fold(*events, *ends, reported(A, "in_progress")).unfinished("o") == 2
    assert fold(*events).unfinished("somebody else") == 0


@given(
    st.permutations(
        [
            opened(A),
            opened(B),
            opened(A),
            reported(A, "completed"),
            reported(B, "in_progress"),
        ]
    )
)
def test_the_order_of_the_two_topics_does_not_matter(messages: list[UploadEvent | UploadProgress]) -> None:
    assert fold(*messages).unfinished("o") == 1


def test_what_is_old_is_forgotten() -> None:
    lately = fold(opened(KEYED), opened(upload_id("late"), seconds=100), reported(upload_id("gone"), "completed"))
    lately.forget(at(50))
    assert lately.first(KEYED) is None
    assert lately.unfinished("o") == 1
    lately.forget(at(50) + timedelta(days=1))
    assert lately.unfinished("o") == 0
