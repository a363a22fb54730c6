"""The spool's folders: nothing that a message says leads out of them, and others' stay when one is discarded."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.settings import Settings
from schemas.uploads import FileLocation
from services.ingest.feeder.spool import Spool, is_consistent

HOSTILE = ["", ".", "..", "../..", "/", "/etc", "a/../../b", "a\x00b", "~", "x" * 5_000, "\ud800", "spool", "lock"]


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_id_leads_out_of_the_spool(tmp_path: Path, hostile: str) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "data").mkdir()
    with Spool(Settings(data=tmp_path / "data")) as spool:
        (spool.folder_of("other", "check") / "file").write_bytes(b"x")
        before = entries(tmp_path)
        folder = spool.folder_of(hostile, hostile)
        assert folder.parent.parent == tmp_path / "data" / "feeder-1" / "spool"
        assert Path(os.path.realpath(folder)) == folder
        spool.discard(hostile)
        assert entries(tmp_path) == before
        spool.folder_of(hostile, hostile)
        spool.keep_only(["other"])
        assert entries(tmp_path) == before


def test_sizes_are_what_the_disk_lost(tmp_path: Path) -> None:
    with Spool(Settings(data=tmp_path)) as spool:
        (spool.folder_of("a", "1") / "file").write_bytes(b"x" * 100_000)
        (spool.folder_of("b", "1") / "file").write_bytes(b"x" * 1_000_000)
        own, others = spool.sizes("a")
    assert 100_000 <= own < 200_000
    assert 1_000_000 <= others < 1_200_000


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1))
def test_no_more_chunks_than_offsets(first: int, last: int, chunks: int) -> None:
    file = FileLocation(partition=0, first_offset=first, last_offset=last, chunks=chunks, attempt="a")
    assert is_consistent(file) == (last >= first and 1 <= chunks <= last - first + 1)
