"""The commands of the local stack: `python -m deploy.local up|scrub|web|simulator|reset`."""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from deploy.local import simulator
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from deploy.local.supervisor.options import Flags, UsageError, stack_options
from deploy.local.supervisor.run_folder import RunFolder
from schemas.settings import Settings

EXIT_ERROR, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0 done or stopped, 1 an error, 2 usage (scrub has more)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["simulator"]:
        return simulator.main(given[1:])
    flags = parser().parse_args(given)
    run: Callable[[argparse.Namespace], int] = flags.run
    try:
        return run(flags)
    except UsageError as error:
        return _complain(str(error), EXIT_USAGE)
    except ValidationError as error:
        return _complain(_explain(error), EXIT_USAGE)
    except StackError as error:
        return _complain(str(error), EXIT_ERROR)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m deploy.local", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start Kafka, every role and a simulated lookup API; stop with Ctrl-C"))
    _add_scrub(commands.add_parser("scrub", help="upload a file, show progress, write the result beside it"))
    web = commands.add_parser("web", help="the web role alone (uploads, pages, JSON) on one port")
    web.set_defaults(run=_web)
    commands.add_parser("simulator", help="the simulated lookup API alone", add_help=False)
    reset = commands.add_parser("reset", help="delete all local data")
    reset.add_argument("--data", type=Path, help="data folder (SCRUB_DATA, else .data)")
    reset.set_defaults(run=_reset)
    return made


def _add_up(command: argparse.ArgumentParser) -> None:
    _add_stack_flags(command)
    command.set_defaults(run=_up)


def _add_stack_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", type=_port, help="port of the pages (SCRUB_PORT, else 8000); 0: a free one")
    command.add_argument("--data", type=Path, help="data folder (SCRUB_DATA, else .data)")
    command.add_argument("--kafka-port", type=_port, help="port of Kafka (9092); 0: a free one; not with SCRUB_KAFKA")
    command.add_argument("--scale", help="instances of roles, as in worker=2,gate=2 (1 each)")
    command.add_argument("--lookup-url", help="the lookup API to call instead of the simulator (SCRUB_LOOKUP_URL)")
    command.add_argument("--provider", help="which lookup API it is (SCRUB_PROVIDER, else generic)")


def _add_scrub(command: argparse.ArgumentParser) -> None:
    from deploy.local import scrub

    scrub.add_arguments(command)
    _add_stack_flags(command)
    command.set_defaults(run=scrub.run)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return int(text)


def flags_of(given: argparse.Namespace) -> Flags:
    """The stack's flags among those given."""
    return Flags(given.port, given.data, given.kafka_port, given.scale, given.lookup_url, given.provider)


def _up(given: argparse.Namespace) -> int:
    if given.kafka_port is not None and os.environ.get("SCRUB_KAFKA"):
        _say("SCRUB_KAFKA is set: no broker is started, --kafka-port has no effect.")
    stack = Stack(stack_options(flags_of(given)), _say)
    asyncio.run(stack.run(lambda url: print(f"ready {url}", flush=True)))
    _say("Stopped. The data is kept.")
    return 0


def _web(_given: argparse.Namespace) -> int:
    from deploy.local.web import main as web_main
    from services.runtime.process import run

    return run("web", web_main, Settings())


def _reset(given: argparse.Namespace) -> int:
    data: Path = (given.data or Settings().data).absolute()
    if not data.exists():
        _say(f"There is no data in {data}.")
        return 0
    if not (data / "run").is_dir():
        raise StackError(f"{data} does not look like a data folder of phone-scrubber (it has no folder run): kept.")
    folder = RunFolder(data)
    folder.lock()
    folder.end_leftovers(_say)
    folder.close()
    try:
        shutil.rmtree(data)
    except OSError as error:
        raise StackError(f"{error.filename} cannot be deleted ({error.strerror}): change its permissions.") from error
    _say(f"Deleted {data}.")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(sentence: str, code: int) -> int:
    _say(sentence)
    return code


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"])
    return f"The setting {name} (SCRUB_{name.upper()} or its flag) is not usable: {first['msg']}."
