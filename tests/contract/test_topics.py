"""The topic registry says what the design promises, and no role touches a topic that it does not name."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import schemas.roles
import schemas.topics
from schemas.topics import TOPICS, Compacted, KeptDays, Topic

CHECKOUT = Path(__file__).parents[2]
K = KeptDays()
PROMISED = {
    "upload-files": ("upload id", K, "http", "feeder"),
    "upload-events": ("upload id", K, "http feeder status producers", "feeder gate join"),
    "feed-checkpoints": ("upload id", Compacted(), "feeder", "feeder"),
    "plan-questions": ("upload id", KeptDays(1), "feeder", "join"),
    "upload-rows": ("phone", K, "feeder join producers", "worker join"),
    "rejected-rows": ("upload id", K, "feeder", "join"),
    "bad-records": ("none", K, "every role", "operators"),
    "lookup-requests": ("phone:upload:round", Compacted(), "worker", "gate"),
    "lookup-retries": ("phone", Compacted(), "gate", "gate"),
    "lookup-dead-letters": ("phone", K, "gate", "operators status"),
    "lookup-results": ("phone", Compacted(lag_days=1), "gate", "worker join gate"),
    "lookup-status": ("gate partition", Compacted(), "gate", "status join"),
    "lookup-commands": ("lookups", Compacted(), "status", "gate"),
    "upload-progress": ("upload id", Compacted(), "join", "status feeder"),
    "upload-completions": ("upload id", K, "join", "status other systems"),
    "part-status": ("role-instance", Compacted(), "every role", "status"),
}
"""Topic → key, how long kept, by whom written, by whom read: the table that other systems were given."""
BEYOND = {
    ("upload-rows", "worker"): "rows in a wrong partition are published again",
    ("lookup-requests", "gate"): "tombstones of settled requests",
    ("lookup-results", "status"): "a phone that is forgotten gets a null result",
}
"""Writers that the table leaves out, with what they write."""
READ_BEYOND: dict[tuple[str, str], str] = {
    ("upload-events", "http"): "a repeated Idempotency-Key gets the first answer from every replica",
    ("lookup-status", "gate"): "a new gate counts on from what the one before it had counted",
    ("upload-progress", "http"): "an owner's unfinished uploads are limited",
    ("upload-completions", "join"): "a new database learns which events are out already",
    **{
        ("part-status", role.name): "each tells how the one before it ended"
        for role in schemas.roles.ROLES
        if role.name != "status"
    },
}
"""Readers that the table leaves out, with what for."""
ONLY_OFFSETS = {
    ("lookup-requests", "join"): "the sweep waits until the gate has folded up to the end",
}
"""Roles that ask for a topic's offsets and neither read nor write its records."""
FROM_ELSEWHERE = {
    ("lookup-dead-letters", "status"): "SQL's failed rows say the same, and can be filtered by upload and owner",
}
"""Readers that the table names and that need not read, with the reason."""
ONE_PARTITION = {
    "lookup-requests",
    "lookup-retries",
    "lookup-status",
    "lookup-commands",
    "part-status",
}
ROLES = {str(role.name): role.module.replace(".", "/") + ".py" for role in schemas.roles.ROLES}
BY_NAME = {topic.name: topic for topic in TOPICS}
BY_CONSTANT = {name: value for name, value in vars(schemas.topics).items() if isinstance(value, Topic)}


@pytest.mark.parametrize("name", PROMISED)
def test_a_topic_is_what_was_promised(name: str) -> None:
    key, kept, writers, readers = PROMISED[name]
    topic = BY_NAME[name]
    beyond = {role for (of, role) in BEYOND if of == name}
    assert topic.key.partition(";")[0] == key
    assert topic.kept == kept
    assert set(topic.writers) - beyond == ({writers} if writers == "every role" else set(writers.split()))
    also = {role for (of, role) in READ_BEYOND if of == name}
    assert set(" ".join(topic.readers).split()) - also == set(readers.split())


def test_there_is_no_other_topic_but_the_table_changelog_of_the_worker() -> None:
    assert BY_NAME.keys() - PROMISED.keys() == {"lookup-phones-changelog"}
    changelog = BY_NAME["lookup-phones-changelog"]
    assert (changelog.writers, changelog.readers, changelog.kept) == (("worker",), ("worker",), Compacted())


def test_partition_counts() -> None:
    assert {topic.name for topic in TOPICS if topic.partitions == 1} == ONE_PARTITION
    assert {topic.partitions for topic in TOPICS} == {None, 1}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_settings_that_replays_and_retention_rely_on(topic: Topic) -> None:
    config = topic.config(keep_days=30)
    assert config["message.timestamp.type"] == ("LogAppendTime" if topic.name == "upload-rows" else "CreateTime")
    if isinstance(topic.kept, KeptDays):
        days = topic.kept.days or 30
        assert (config["cleanup.policy"], config["retention.ms"]) == ("delete", str(days * 86_400_000))
        return
    lag_days = 31 if topic.name == "lookup-results" else 0
    assert config["cleanup.policy"] == "compact"
    assert config["min.compaction.lag.ms"] == str(lag_days * 86_400_000)
    assert (config["segment.bytes"], config["segment.ms"]) == (str(16 * 1024**2), "600000")
    assert config["min.cleanable.dirty.ratio"] == "0.1"


def test_rows_results_and_the_table_lie_in_equal_partitions() -> None:
    together = ("upload-rows", "lookup-results", "lookup-phones-changelog")
    assert len({BY_NAME[name].partitions for name in together}) == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_role_touches_only_topics_that_name_it(role: str) -> None:
    touched = {topic.name for topic in topics_of(role)}
    allowed = {topic.name for topic in TOPICS if names(topic, role)} | {of for of, who in ONLY_OFFSETS if who == role}
    assert touched <= allowed


@pytest.mark.parametrize("role", ROLES)
def test_a_role_touches_every_topic_that_names_it(role: str) -> None:
    named = {topic.name for topic in TOPICS if role in (*topic.writers, *topic.readers)}
    named -= {of for of, who in FROM_ELSEWHERE if who == role}
    assert named <= {topic.name for topic in topics_of(role)}


def test_topics_are_named_nowhere_but_in_the_registry() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}: {node.value}"
        for path in sorted((CHECKOUT / "services").rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value in BY_NAME
    ]
    assert found == []


def names(topic: Topic, role: str) -> bool:
    return role in (*topic.writers, *topic.readers) or "every role" in topic.writers


def topics_of(role: str) -> set[Topic]:
    """The registry's topics that the modules of a role mention, of its own service and of the shell all share."""
    return {topic for path in modules_of(CHECKOUT / ROLES[role]) for topic in mentioned(path)}


def modules_of(entry: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imported_modules(path)
    return seen


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(path: Path) -> Iterator[Path]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("services"):
            yield from files(node.module)
            for alias in node.names:
                yield from files(f"{node.module}.{alias.name}")


def files(module: str) -> Iterable[Path]:
    base = CHECKOUT / module.replace(".", "/")
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()]


def mentioned(path: Path) -> Iterator[Topic]:
    for node in ast.walk(parsed(path)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        if name in BY_CONSTANT:
            yield BY_CONSTANT[name]
