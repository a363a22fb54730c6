"""Says who may do what on Kafka, derived from the topic registry: `python -m deploy.acls` prints a script.

Each role is a principal of its own and gets no right more than its work needs. Other systems may write two topics,
`upload-events` and `upload-rows`, and read one, `upload-completions`. Everything else is closed to them: a writer of
`lookup-results` could forge what is known of a phone, and a member of the gate's group takes its lease.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas import groups
from schemas.roles import ROLES
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

Operation = Literal["Read", "Write", "Describe", "Create", "DescribeConfigs"]
Resource = Literal["topic", "group"]

_WATCHED_GROUPS: Final[Mapping[str, str]] = {"feeder": groups.WORKER, "join": groups.WORKER}
"""Role → a group whose committed offsets it asks for."""
_MEASURED_TOPICS: Final = {"feeder": ("upload-rows",), "join": ("lookup-requests",)}
"""Role → topics of which it asks where they end."""
_CONFIGURED_TOPICS: Final = {"http": ("upload-files",)}
"""Role → topics whose settings it asks for: how large a record may be there."""
PRODUCER: Final = "producer"
LISTENER: Final = "listener"
LISTENER_GROUPS: Final = "listener-"
"""Prefix of the groups in which other systems listen to completions."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What a principal may do with a topic or a group. `prefixed`: with every one whose name begins with `name`."""

    principal: str
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False


def rights(settings: Settings) -> tuple[Right, ...]:
    """Everything that is allowed, in a fixed order."""
    return tuple(sorted({*_of_roles(settings), *_of_others(settings), *_of_operators(settings)}))


def _of_roles(settings: Settings) -> Iterator[Right]:
    prefix = settings.topic_prefix
    for spec in ROLES:
        role = spec.name
        for topic in TOPICS:
            if role in topic.writers or "every role" in topic.writers:
                yield Right(role, "Write", "topic", prefix + topic.name)
            if role in topic.readers or "every role" in topic.readers or _puts_back(role, topic):
                yield Right(role, "Read", "topic", prefix + topic.name)
            if _puts_back(role, topic):
                yield Right(role, "Write", "topic", prefix + topic.name)
        for name in _MEASURED_TOPICS.get(role, ()):
            yield Right(role, "Describe", "topic", prefix + name)
        for name in _CONFIGURED_TOPICS.get(role, ()):
            yield Right(role, "DescribeConfigs", "topic", prefix + name)
        if spec.group is not None:
            yield Right(role, "Read", "group", prefix + spec.group)
        if role in _WATCHED_GROUPS:
            yield Right(role, "Describe", "group", prefix + _WATCHED_GROUPS[role])


def _puts_back(role: str, topic: Topic) -> bool:
    """Whether the role publishes bad records of the topic again: it reads each at its place and writes it anew."""
    return role == "status" and bool(topic.messages) and topic.name != "bad-records"


def _of_others(settings: Settings) -> Iterator[Right]:
    for topic in TOPICS:
        if "producers" in topic.writers:
            yield Right(PRODUCER, "Write", "topic", settings.topic_prefix + topic.name)
        if "other systems" in topic.readers:
            yield Right(LISTENER, "Read", "topic", settings.topic_prefix + topic.name)
    yield Right(LISTENER, "Read", "group", settings.topic_prefix + LISTENER_GROUPS, prefixed=True)


def _of_operators(settings: Settings) -> Iterator[Right]:
    """Whoever creates the topics: `python -m deploy.topics`."""
    for operation in ("Create", "Describe", "DescribeConfigs"):
        yield Right("topics", operation, "topic", settings.topic_prefix or "*", prefixed=bool(settings.topic_prefix))


def command_of(right: Right) -> str:
    """The right as a call of Kafka's own tool, without the address of the cluster."""
    pattern = " --resource-pattern-type prefixed" if right.prefixed else ""
    name = f"'{right.name}'"
    return (
        f"kafka-acls.sh --add --allow-principal User:{right.principal} --operation {right.operation}"
        f" --{right.resource} {name}{pattern}"
    )


def script(settings: Settings) -> str:
    """All rights as a shell script; what follows its name goes to each call, such as `--bootstrap-server HOST:PORT`."""
    return "\n".join(["#!/bin/sh", "set -e", *(f'{command_of(right)} "$@"' for right in rights(settings)), ""])


def main() -> int:
    """Prints the script; returns the exit code."""
    print(script(Settings()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
