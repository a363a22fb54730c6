"""Owns Kafka's jars: downloads them once through jgo, and lets none be used whose SHA-256 is not the pinned one.

`kafka-jars.sha256` holds one line a jar in the format of `sha256sum`, with the jar's path in a Maven repository; the
first one is Kafka itself, so the file also pins the version. `python -m deploy.local.broker` writes it anew.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.errors import StackError
from services.runtime.file_lock import wait_for_lock

KAFKA = "org.apache.kafka:kafka_2.13:4.2.1"
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
"""Kafka's distribution has it beside the resolved jars; without it the broker logs nothing."""

HASHES = Path(__file__).with_name("kafka-jars.sha256")
_ROOT = Path(__file__).parents[3]
_DOWNLOADS_AT_ONCE = 4
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar by its path in a repository: `group/as/folders/artifact/version/artifact-version.jar`."""

    path: str
    sha256: str

    @property
    def coordinate(self) -> tuple[str, str, str]:
        """Group, artifact and version."""
        *group, artifact, version, _file = self.path.split("/")
        return ".".join(group), artifact, version


def cache_folder(root: Path = _ROOT) -> Path:
    """Where downloads are kept: `SCRUB_CACHE`; else `.cache` in the checkout, or the user's cache when installed."""
    given = os.environ.get("SCRUB_CACHE")
    if given:
        return Path(given).absolute()
    if (root / "pyproject.toml").is_file():
        return (root / ".cache").absolute()
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phone-scrubber").absolute()


def pinned_jars(hashes: Path = HASHES) -> tuple[Jar, ...]:
    """The jars that the broker runs on, in the order of the class path."""
    lines = hashes.read_text(encoding="utf-8").splitlines()
    return tuple(Jar(path, sha256) for sha256, path in (line.split(maxsplit=1) for line in lines if line))


def class_path(cache: Path, *, say: Callable[[str], None], jars: Sequence[Jar] | None = None) -> tuple[Path, ...]:
    """The jars' paths, every one verified now; those not cached yet are downloaded first.

    Touches no network when all are cached. Two processes may call it at the same time.

    Raises:
        StackError: a download failed, a jar is not the pinned one, or the cache cannot be written.
    """
    wanted = pinned_jars() if jars is None else jars
    repository = cache / "jgo"
    try:
        with _locked(cache):
            missing = [jar for jar in wanted if not _is_intact(repository / jar.path, jar)]
            if missing:
                say(f"Downloading Kafka ({len(missing)} jars, kept in {cache}) ...")
                _download(missing, repository)
    except OSError as error:
        raise StackError(
            f"The cache folder {error.filename or cache} cannot be used ({error.strerror}): "
            "make it writable, or set SCRUB_CACHE to another folder."
        ) from error
    return tuple(repository / jar.path for jar in wanted)


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "jgo.lock").open("wb") as lock:
        wait_for_lock(lock)
        yield


def _is_intact(path: Path, jar: Jar) -> bool:
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(missing: Sequence[Jar], repository: Path) -> None:
    for jar in missing:
        # An interrupted download leaves half a file, which jgo would take for a whole one.
        (repository / jar.path).unlink(missing_ok=True)
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as threads:
        list(threads.map(lambda jar: _fetch(jar, repository), missing))
    for jar in missing:
        if not _is_intact(repository / jar.path, jar):
            (repository / jar.path).unlink(missing_ok=True)
            raise StackError(
                f"{Path(jar.path).name} as downloaded is not the file that {HASHES.name} pins (its SHA-256 differs); "
                "it was thrown away: try again, and if it stays so, do not trust the source it comes from."
            )


def _fetch(jar: Jar, repository: Path) -> None:
    from jgo.maven import MavenContext

    group, artifact, version = jar.coordinate
    context = MavenContext(repo_cache=repository, timeout=_TIMEOUT_SECONDS)
    try:
        context.project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:
        (repository / jar.path).unlink(missing_ok=True)
        raise StackError(
            f"{Path(jar.path).name}, a part of Kafka, could not be downloaded ({type(error).__name__}): "
            "check the network connection and try again; what was downloaded so far is kept."
        ) from error


def write_hashes(repository: Path, hashes: Path = HASHES) -> int:
    """Resolves Kafka's dependencies anew, downloads them and pins what came; returns how many jars."""
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    context = MavenContext(repo_cache=repository, timeout=_TIMEOUT_SECONDS)
    kafka = context.create_dependency(replace(Coordinate.parse(KAFKA), scope="compile"))
    roots, transitive = context.resolver.resolve([kafka])
    binding = context.create_dependency(replace(Coordinate.parse(LOG_BINDING), scope="runtime"))
    needed = [*roots, *(one for one in transitive if one.scope in ("compile", "runtime")), binding]
    paths = [Path(one.artifact.resolve()) for one in needed]
    lines = [f"{_sha256(path)}  {path.relative_to(repository).as_posix()}\n" for path in paths]
    hashes.write_text("".join([lines[0], *sorted(lines[1:], key=lambda line: line.split()[1])]), encoding="utf-8")
    return len(lines)


def pin_anew() -> int:
    """Pins what Maven has now, from a cache of its own; returns how many jars."""
    fresh = cache_folder() / "jgo-fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        return write_hashes(fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
