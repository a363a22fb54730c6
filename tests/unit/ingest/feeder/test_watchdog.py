"""When a feeder must give itself up."""

from services.ingest.feeder.watchdog import STUCK_SECONDS, PartitionWatchdog


def test_unread_records_and_no_progress_for_a_minute() -> None:
    watchdog = PartitionWatchdog()
    assert not watchdog.is_stuck({"p": 5}, {"p": 9}, now=0.0)
    assert not watchdog.is_stuck({"p": 5}, {"p": 10}, now=STUCK_SECONDS - 1)
    assert watchdog.is_stuck({"p": 5}, {"p": 10}, now=STUCK_SECONDS)


def test_any_progress_begins_a_new_minute() -> None:
    watchdog = PartitionWatchdog()
    watchdog.is_stuck({"p": 5}, {"p": 9}, now=0.0)
    assert not watchdog.is_stuck({"p": 6}, {"p": 9}, now=STUCK_SECONDS)
    assert not watchdog.is_stuck({"p": 6}, {"p": 9}, now=2 * STUCK_SECONDS - 1)


def test_with_nothing_to_read_it_may_be_idle_for_ever() -> None:
    watchdog = PartitionWatchdog()
    for minute in range(100):
        assert not watchdog.is_stuck({"p": 9}, {"p": 9}, now=minute * STUCK_SECONDS)
