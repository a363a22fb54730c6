"""The command line, `phone-scrubber COMMAND` or `python -m deploy.local COMMAND`.

`up`, `scrub`, `web`, `simulator` and `reset` are about a stack on this machine; `topics`, `config` and `show` are about
the cluster and the settings that `SCRUB_*` variables name.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from deploy import config, show, topics
from deploy.local import simulator
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from deploy.local.supervisor.options import Flags, UsageError, stack_options
from deploy.local.supervisor.run_folder import RunFolder
from schemas.settings import Settings

EXIT_ERROR, EXIT_USAGE = 1, 2
PROGRAM = "python -m deploy.local"


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Runs a command; returns the exit code: 0 done or stopped, 1 an error, 2 usage (scrub has more)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["simulator"]:
            return simulator.main(given[1:])
        if given[:1] == ["config"]:
            return config.main(given[1:], program=f"{program} config")
        if given[:1] == ["show"]:
            return show.main(given[1:], program=f"{program} show")
        flags = parser(program).parse_args(given)
        run: Callable[[argparse.Namespace], int] = flags.run
        return run(flags)
    except UsageError as error:
        return _complain(str(error), EXIT_USAGE)
    except ValidationError as error:
        return _complain(_explain(error), EXIT_USAGE)
    except StackError as error:
        return _complain(str(error), EXIT_ERROR)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line. `simulator`, `config` and `show` have parsers of their own: here are only their names."""
    made = argparse.ArgumentParser(program, description="Look up every distinct phone of a file once.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start Kafka, every role and a simulated lookup API; stop with Ctrl-C"))
    _add_scrub(commands.add_parser("scrub", help="upload a file, show progress, write the result beside it"))
    web = commands.add_parser("web", help="the web role alone (uploads, pages, JSON) on one port")
    web.set_defaults(run=_web)
    commands.add_parser("simulator", help="the simulated lookup API alone", add_help=False)
    reset = commands.add_parser("reset", help="delete all local data")
    reset.add_argument("--data", type=Path, help="data folder (SCRUB_DATA, else .data)")
    reset.set_defaults(run=_reset)
    create = commands.add_parser("topics", help="create the topics that are missing on SCRUB_KAFKA")
    create.set_defaults(run=lambda _given: topics.main())
    commands.add_parser("config", help="`config check`: say what is wrong with the SCRUB_* settings", add_help=False)
    commands.add_parser("show", help="`show TOPIC`: print its newest messages, phones masked", add_help=False)
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
    # Only the first part of the place: what follows may be a token, as a key of SCRUB_TOKENS.
    name = str(first["loc"][0]) if first["loc"] else "-"
    return f"The setting {name} (SCRUB_{name.upper()} or its flag) is not usable: {first['msg']}."
