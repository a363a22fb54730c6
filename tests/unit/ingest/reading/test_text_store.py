"""Shared texts come back as they were added, whether they lie in memory, in a block of the file, or across blocks."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.reading.formats.workbook import text_store
from services.ingest.reading.formats.workbook.text_store import TextStore


def filled(folder: Path, texts: Sequence[str]) -> TextStore:
    """Each text is added in two pieces."""
    store = TextStore(folder)
    for text in texts:
        store.add(text[: len(text) // 2])
        store.add(text[len(text) // 2 :])
        store.end_text()
    return store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=40), max_size=60), order=st.randoms())
def test_texts_come_back_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], order: Random
) -> None:
    monkeypatch.setattr(text_store, "HELD_BYTES", 64)
    monkeypatch.setattr(text_store, "_BLOCK_BYTES", 32)
    monkeypatch.setattr(text_store, "_BLOCKS", 2)
    numbers = list(range(len(texts)))
    order.shuffle(numbers)
    with closing(filled(tmp_path, texts)) as store:
        assert [store.get(number) for number in numbers] == [texts[number] for number in numbers]
        assert len(store) == len(texts)
        assert store.bytes_added == sum(len(text.encode()) for text in texts)
        assert store.get(len(texts)) == ""


def test_only_many_texts_need_a_file_and_it_leaves_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "there is no such folder"
    assert filled(missing, ["a few"]).get(0) == "a few"
    with pytest.raises(FileNotFoundError):
        filled(missing, ["x" * (text_store.HELD_BYTES + 1)])
    with closing(filled(tmp_path, ["x" * (text_store.HELD_BYTES + 1), "last"])) as store:
        assert store.get(1) == "last"
        assert len(store.get(0)) == text_store.HELD_BYTES + 1
        assert list(tmp_path.iterdir()) == []
