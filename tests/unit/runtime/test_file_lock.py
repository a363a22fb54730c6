"""A lock of a file keeps other processes out until the file is closed."""

from pathlib import Path

from services.runtime.file_lock import try_lock, wait_for_lock


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+b") as first, path.open("a+b") as second:
        assert try_lock(first)
        assert not try_lock(second)
        assert not try_lock(second, shared=True)
        first.close()
        assert try_lock(second)


def test_shared_holders_keep_only_a_sole_one_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+b") as first, path.open("a+b") as second, path.open("a+b") as sole:
        assert try_lock(first, shared=True)
        assert try_lock(second, shared=True)
        assert not try_lock(sole)


def test_who_waits_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+b") as first:
        wait_for_lock(first)
        with path.open("a+b") as second:
            assert not try_lock(second)
