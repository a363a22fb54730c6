"""Decides what a stack consists of and where it listens: flags win over `SCRUB_*` variables, those over defaults."""

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.broker import HOST, free_port
from deploy.local.errors import StackError
from schemas.roles import ROLES
from schemas.settings import Settings

SCALABLE: Final[tuple[str, ...]] = tuple(role.name for role in ROLES if role.is_scalable)


class UsageError(Exception):
    """A flag makes no sense; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What was given on the command line; None: not given."""

    port: int | None = None
    data: Path | None = None
    kafka_port: int | None = None
    scale: str | None = None
    lookup_url: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class StackOptions:
    """A stack as it will be started.

    `kafka_port` None: a cluster outside is used. `simulator_port` None: the API is outside.
    """

    settings: Settings
    kafka_port: int | None
    simulator_port: int | None
    scale: Mapping[str, int]

    @property
    def url(self) -> str:
        """Where the pages are, seen from this machine."""
        host = {"0.0.0.0": HOST, "::": "::1"}.get(self.settings.host, self.settings.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    def environment(self) -> dict[str, str]:
        """Variables of every role, in addition to those of this process."""
        return {
            "SCRUB_KAFKA": self.settings.kafka,
            "SCRUB_DATA": str(self.settings.data),
            "SCRUB_PORT": str(self.settings.port),
            "SCRUB_LOOKUP_URL": self.settings.lookup_url,
            "SCRUB_PROVIDER": self.settings.provider,
            "PYTHONUNBUFFERED": "1",
        }


def stack_options(flags: Flags, environ: Mapping[str, str] = os.environ) -> StackOptions:
    """Everything decided, ports of 0 included.

    Raises:
        UsageError: a flag cannot be understood.
        pydantic.ValidationError: a value is not allowed; flags and variables alike.
    """
    outside_kafka = environ.get("SCRUB_KAFKA")
    kafka_port = None if outside_kafka else (flags.kafka_port if flags.kafka_port is not None else 9092) or free_port()
    outside_api = flags.lookup_url or environ.get("SCRUB_LOOKUP_URL")
    # Nobody outside the stack needs to know it, and stacks that start together must not want the same one.
    simulator_port = None if outside_api else free_port()
    given = {
        "port": flags.port,
        "data": flags.data,
        "provider": flags.provider,
        "kafka": outside_kafka or f"{HOST}:{kafka_port}",
        "lookup_url": outside_api or f"http://{HOST}:{simulator_port}/lookup",
    }
    # Pydantic checks the values.
    chosen = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    settings = chosen.model_copy(update={"data": chosen.data.absolute(), "port": chosen.port or free_port(chosen.host)})
    return StackOptions(settings, kafka_port, simulator_port, parse_scale(flags.scale, settings))


def parse_scale(text: str | None, settings: Settings) -> dict[str, int]:
    """`worker=2,gate=2` as numbers, 1 for every role that is not named.

    Raises:
        UsageError: no such role, no number, or two joins on one SQLite file.
    """
    scale: dict[str, int] = dict.fromkeys(SCALABLE, 1)
    for item in filter(None, (text or "").split(",")):
        role, _, number = item.partition("=")
        if role not in SCALABLE or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"--scale {item}: give {', '.join(SCALABLE)} a number from 1, as in worker=2,gate=2")
        scale[role] = int(number)
    if scale["join"] > 1 and settings.database_url.startswith("sqlite"):
        raise UsageError("--scale join: SQLite allows one join; set SCRUB_DATABASE to a PostgreSQL URL for more")
    return scale


def refuse_taken_ports(options: StackOptions) -> None:
    """Raises StackError when something else already listens where the stack would."""
    _refuse_taken(options.settings.host, options.settings.port, use="the web pages", flag="--port or SCRUB_PORT")
    if options.kafka_port is not None:
        _refuse_taken(HOST, options.kafka_port, use="Kafka", flag="--kafka-port")


def _refuse_taken(host: str, port: int, *, use: str, flag: str) -> None:
    problem = _bind_problem(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        raise StackError(
            f"Port {port} on {host}, wanted for {use}, is in use by another program: "
            f"stop that program, or choose another port with {flag}."
        )
    raise StackError(f"Port {port} on {host}, wanted for {use}, cannot be used ({problem.strerror}): see {flag}.")


def _bind_problem(host: str, port: int) -> OSError | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            return error
    return None
