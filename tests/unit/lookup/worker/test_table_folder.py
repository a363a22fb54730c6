"""A worker's data folder belongs to one worker and one cluster."""

from pathlib import Path

import pytest

from services.lookup.worker.table_folder import locked_folder, wipe_data_of_other_cluster
from services.runtime.process import RefusedToStart


def test_a_second_worker_on_the_same_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "worker-1"), pytest.raises(RefusedToStart, match="SCRUB_INSTANCE"):
        locked_folder(tmp_path / "worker-1").__enter__()


def test_a_folder_is_free_again_after_its_worker(tmp_path: Path) -> None:
    for _ in range(2):
        with locked_folder(tmp_path / "worker-1") as folder:
            assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedToStart, match="SCRUB_DATA"):
        locked_folder(tmp_path / "file" / "worker-1").__enter__()


def test_tables_of_another_cluster_are_removed_and_those_of_the_same_kept(tmp_path: Path) -> None:
    table = tmp_path / "v1" / "tables"
    table.mkdir(parents=True)
    assert not wipe_data_of_other_cluster(tmp_path, "cluster-a")
    assert not wipe_data_of_other_cluster(tmp_path, "cluster-a")
    assert table.exists()
    assert wipe_data_of_other_cluster(tmp_path, "cluster-b")
    assert not table.exists()
    assert not wipe_data_of_other_cluster(tmp_path, "cluster-b")
