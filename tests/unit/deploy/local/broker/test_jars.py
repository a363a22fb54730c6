"""Kafka's jars: only pinned ones are used, and a cache that has them all needs no network."""

import hashlib
import shutil
from pathlib import Path

import pytest

from deploy.local.broker.jars import KAFKA, Jar, cache_folder, class_path, pinned_jars
from deploy.local.errors import StackError

CONTENT = b"a jar"
JAR = Jar("org/example/some-thing/1.0/some-thing-1.0.jar", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    jar = tmp_path / "jgo" / JAR.path
    jar.parent.mkdir(parents=True)
    jar.write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the network; empty: nothing can be downloaded."""
    folder = tmp_path_factory.mktemp("repository")

    def download(_resolver: object, artifact: object) -> Path:
        target: Path = artifact.cached_path  # type: ignore[attr-defined]  # jgo has no types
        source = folder / target.name
        if not source.exists():
            raise ConnectionError("no network")
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(source, target))

    monkeypatch.setattr("jgo.maven.PythonResolver.download", download)
    return folder


def test_a_whole_cache_needs_no_network(cache: Path, repository: Path) -> None:
    assert class_path(cache, say=pytest.fail, jars=[JAR]) == (cache / "jgo" / JAR.path,)
    assert not any(repository.iterdir())


def test_a_missing_jar_is_downloaded_and_that_is_said(tmp_path: Path, repository: Path) -> None:
    (repository / "some-thing-1.0.jar").write_bytes(CONTENT)
    said: list[str] = []
    (path,) = class_path(tmp_path, say=said.append, jars=[JAR])
    assert path.read_bytes() == CONTENT
    assert "Downloading" in said[0]


def test_half_a_jar_of_an_interrupted_download_is_replaced(cache: Path, repository: Path) -> None:
    (cache / "jgo" / JAR.path).write_bytes(CONTENT[:2])
    (repository / "some-thing-1.0.jar").write_bytes(CONTENT)
    (path,) = class_path(cache, say=lambda _line: None, jars=[JAR])
    assert path.read_bytes() == CONTENT


def test_another_jar_than_the_pinned_one_is_refused_and_not_kept(tmp_path: Path, repository: Path) -> None:
    (repository / "some-thing-1.0.jar").write_bytes(b"something else")
    with pytest.raises(StackError, match=r"some-thing-1\.0\.jar.*SHA-256"):
        class_path(tmp_path, say=lambda _line: None, jars=[JAR])
    assert not (tmp_path / "jgo" / JAR.path).exists()


@pytest.mark.usefixtures("repository")
def test_a_failed_download_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"some-thing-1\.0\.jar.*could not be downloaded.*network"):
        class_path(tmp_path, say=lambda _line: None, jars=[JAR])


def test_a_cache_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(StackError, match="SCRUB_CACHE"):
        class_path(tmp_path / "file" / "cache", say=lambda _line: None, jars=[JAR])


def test_every_pinned_jar_has_a_hash_and_kafka_is_the_first() -> None:
    jars = pinned_jars()
    assert ":".join(jars[0].coordinate) == KAFKA
    assert len({jar.path for jar in jars}) == len(jars)
    for jar in jars:
        assert len(bytes.fromhex(jar.sha256)) == 32
        assert not jar.path.startswith("/")


def test_the_cache_is_in_the_checkout_and_elsewhere_when_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRUB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    checkout, installed = tmp_path / "checkout", tmp_path / "site-packages"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    assert cache_folder(checkout) == checkout / ".cache"
    assert cache_folder(installed) == tmp_path / "users" / "phone-scrubber"
    monkeypatch.setenv("SCRUB_CACHE", str(tmp_path / "given"))
    assert cache_folder(installed) == tmp_path / "given"
