"""Runs one role as a process: logging to stdout, an event loop, a stop event set by SIGINT and SIGTERM, exit codes."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module

import uvloop

from schemas.roles import roles_of
from schemas.settings import Settings
from services.runtime.log_filter import RepeatFilter

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_CRASHED = 70
"""`os.EX_SOFTWARE`: the supervisor starts the process again."""

_LIBRARIES = (
    "aiokafka",
    "asyncio",
    "faust",
    "httpcore",
    "httpx",
    "mode",
    "python_multipart",
    "sqlalchemy",
    "uvicorn",
    "uvicorn.error",
    "websockets",
)
"""Below warnings these libraries log data that passes through them: frames of sockets, paths. It may hold phones."""

RoleMain = Callable[[Settings, asyncio.Event], Awaitable[None]]


class RefusedToStart(Exception):
    """The process cannot do its work as things are; the text says what to do, in one sentence."""


def configure_logging(settings: Settings) -> None:
    """One line an event on stdout. Libraries speak only when something is wrong."""
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in _LIBRARIES:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RepeatFilter("aiokafka", "faust", "mode"))


def start_role(package: str, arguments: Sequence[str]) -> int:
    """Runs the role of a service that the arguments name; returns the exit code.

    Only the chosen role's modules are imported: a process does not load what another role needs.
    """
    roles = roles_of(package)
    if len(arguments) != 1 or arguments[0] not in roles:
        print(f"usage: python -m {package} {'|'.join(roles)}", file=sys.stderr)
        return EXIT_USAGE
    chosen = roles[arguments[0]]
    return run(chosen.name, import_module(chosen.module).main, Settings())


def run(role: str, main: RoleMain, settings: Settings) -> int:
    """Runs the role until it is done or told to stop; returns the exit code."""
    configure_logging(settings)
    log = logging.getLogger(role)
    try:
        uvloop.run(_run_until_stopped(main, settings))
    except RefusedToStart as refusal:
        log.error("%s", refusal)  # noqa: TRY400 - the sentence is the message, a traceback would bury it
        return EXIT_REFUSED
    except Exception:
        log.exception("stopped by an error")
        return EXIT_CRASHED
    return 0


async def _run_until_stopped(main: RoleMain, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await main(settings, stop)
