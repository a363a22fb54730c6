"""Identifiers: sortable upload ids, and ids that a repetition finds again."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import completion_id, idempotent_upload_id, new_upload_id

milliseconds = st.integers(0, (1 << 48) - 1)


@given(milliseconds, st.binary(min_size=10, max_size=10))
def test_an_upload_id_is_a_uuid_7_that_holds_its_time(now_ms: int, entropy: bytes) -> None:
    upload_id = UUID(new_upload_id(now_ms=now_ms, entropy=entropy))
    assert upload_id.version == 7
    assert upload_id.variant == "specified in RFC 4122"
    assert upload_id.int >> 80 == now_ms


@given(milliseconds, milliseconds)
def test_later_ids_sort_after_earlier_ones(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    if earlier < later:
        assert new_upload_id(now_ms=earlier) < new_upload_id(now_ms=later)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_upload_id(now_ms=1) for _ in range(1_000)}) == 1_000


def test_an_idempotency_key_gives_its_owner_the_same_id_and_another_owner_another() -> None:
    assert idempotent_upload_id("ann", "k1") == idempotent_upload_id("ann", "k1")
    assert idempotent_upload_id("ann", "k1") != idempotent_upload_id("bob", "k1")
    assert idempotent_upload_id("ann", "k") != idempotent_upload_id("an", "nk")


def test_a_completion_has_one_id_a_round() -> None:
    assert completion_id("u", 0) == completion_id("u", 0)
    assert completion_id("u", 0) != completion_id("u", 1)
