"""Commands apply for as long as Kafka keeps an upload's events, counted from its opening."""

from services.lookup.gate.controls import AWAITED_MS, DAY_MS, UploadControls

KEEP_MS = 30 * DAY_MS
SOON_MS = 1_000


def controls_at(newest_ms: int) -> UploadControls:
    """Controls that have seen the log up to that time; a clock alone ends no upload."""
    controls = UploadControls(keep_ms=KEEP_MS)
    controls.of_event("the log's newest", newest_ms)
    return controls


def test_an_upload_without_an_opening_keeps_its_commands_as_long_as_its_events_are_kept() -> None:
    controls = controls_at(KEEP_MS)
    controls.of_event("u1", SOON_MS).paused = True
    assert controls.next_over(KEEP_MS + SOON_MS - 1) is None
    assert controls.get("u1") is not None
    assert controls.next_over(KEEP_MS + SOON_MS) == "u1"
    assert controls.get("u1") is None


def test_an_upload_counts_from_its_opening_and_not_from_an_earlier_command() -> None:
    controls = controls_at(KEEP_MS)
    controls.opened("u1", controls.of_event("u1", 0), SOON_MS)
    assert controls.next_over(KEEP_MS) is None
    assert controls.get("u1") is not None
    assert controls.next_over(KEEP_MS + SOON_MS - 1) is None
    assert controls.next_over(KEEP_MS + SOON_MS) == "u1"
    assert controls.get("u1") is None


def test_an_upload_that_is_opened_early_enough_is_not_over_before_its_events_are() -> None:
    controls = controls_at(0)
    controls.opened("u1", controls.of_event("u1", 0), 0)
    assert controls.next_over(DAY_MS) is None
    assert controls.get("u1") is not None


def test_a_request_whose_upload_is_opened_late_does_not_end_it() -> None:
    controls = controls_at(AWAITED_MS)
    controls.requested("u1", 0)
    controls.opened("u1", controls.of_event("u1", SOON_MS), SOON_MS)
    assert controls.next_over(AWAITED_MS) is None
    assert controls.get("u1") is not None


def test_a_request_whose_upload_is_never_opened_ends_it() -> None:
    controls = controls_at(AWAITED_MS)
    controls.requested("u1", 0)
    assert controls.next_over(AWAITED_MS - 1) is None
    assert controls.next_over(AWAITED_MS) == "u1"
    assert controls.next_over(AWAITED_MS) is None
