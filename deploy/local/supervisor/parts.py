"""Decides what a stack runs: a part for each role and instance, and the order in which they stop."""

import signal
import sys
from pathlib import Path
from typing import Final, NamedTuple

from deploy.local.supervisor.child import Part
from deploy.local.supervisor.options import StackOptions
from schemas.roles import LOCAL_WEB, ROLES


class _Process(NamedTuple):
    """A kind of process of the stack: a role, or all roles with a web server together."""

    name: str
    command: tuple[str, ...]
    stop_stage: int


_PROCESSES: Final = (
    _Process(LOCAL_WEB, ("deploy.local", LOCAL_WEB), min(role.stop_stage for role in ROLES if role.serves_http)),
    *(_Process(role.name, role.command, role.stop_stage) for role in ROLES if not role.serves_http),
)
_STAGES: Final = sorted({process.stop_stage for process in _PROCESSES})
STOP_ORDER: Final[tuple[tuple[str, ...], ...]] = (
    *(tuple(process.name for process in _PROCESSES if process.stop_stage == stage) for stage in _STAGES),
    ("simulator",),
    ("kafka",),
)
"""From where work comes in to where it ends. What the others write to stops last."""


def role_parts(options: StackOptions) -> tuple[Part, ...]:
    """Every instance of every role."""
    return tuple(
        _part(process, number, options)
        for process in _PROCESSES
        for number in range(1, options.scale.get(process.name, 1) + 1)
    )


def _part(process: _Process, number: int, options: StackOptions) -> Part:
    env = options.environment() | {"SCRUB_INSTANCE": str(number)}
    return Part(f"{process.name}-{number}", (sys.executable, "-m", *process.command), env)


def simulator_part(options: StackOptions, *, log: Path) -> Part:
    """The API's stand-in, with the limit that the gate is told to keep."""
    flags = {
        "--port": options.simulator_port,
        "--log": log,
        "--limit": options.settings.rate,
        "--window-seconds": options.settings.window_seconds,
    }
    arguments = [str(item) for pair in flags.items() for item in pair]
    return Part("simulator-1", (sys.executable, "-m", "deploy.local.simulator", *arguments))


def kafka_part(command: tuple[str, ...]) -> Part:
    """The broker. Even when the supervisor is killed it closes its log in order: the next start need not repair it."""
    return Part("kafka-1", command, death_signal=signal.SIGTERM)
