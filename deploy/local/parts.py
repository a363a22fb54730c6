"""Decides what a stack runs: one part a role and instance, in the order in which they stop."""

import signal
import sys
from pathlib import Path

from deploy.local.child import Part
from deploy.local.options import StackOptions

ROLE_COMMANDS = {
    "web": ("deploy.local", "web"),
    "feeder": ("services.ingest", "feeder"),
    "gate": ("services.lookup", "gate"),
    "worker": ("services.lookup", "worker"),
    "join": ("services.assembler", "join"),
}

STOP_ORDER: tuple[tuple[str, ...], ...] = (("web", "feeder"), ("gate", "worker"), ("join",), ("simulator",), ("kafka",))
"""From where work comes in to where it ends; what others write to goes last."""


def role_parts(options: StackOptions) -> tuple[Part, ...]:
    """Every instance of every role."""
    return tuple(
        _part(role, number, options) for role in ROLE_COMMANDS for number in range(1, options.scale.get(role, 1) + 1)
    )


def _part(role: str, number: int, options: StackOptions) -> Part:
    module, command = ROLE_COMMANDS[role]
    env = options.environment() | {"SCRUB_INSTANCE": str(number)}
    return Part(f"{role}-{number}", (sys.executable, "-m", module, command), env)


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
