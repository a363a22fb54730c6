"""The scrub command: sends a file to a stack (a running one, or one it starts), shows progress, writes the result."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local.errors import StackError
from deploy.local.scrub.client import Client
from deploy.local.scrub.summary import detected_lines, outcome_lines, plan_line, reason_lines
from deploy.local.supervisor.run_folder import RunFolder
from schemas.interface import Upload
from schemas.settings import Settings

EXIT_ANSWERED, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 3, 130
_MOST_REASONS_READ = 2_000
_STOP_SECONDS = 90.0
_CODE = Path(__file__).parents[3]
"""The folder that holds `deploy`: the checkout, or the installed package."""
_STACK_FLAGS = ("port", "data", "kafka_port", "scale", "lookup_url", "provider")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What scrub takes beside the flags for the stack that it starts when none runs."""
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("-o", "--output", type=Path, metavar="OUT", help="result file (FILE with .scrubbed.csv)")
    command.add_argument("--url", help="address of a running service; else the stack of the data folder, or a new one")
    command.add_argument("--token", default=os.environ.get("SCRUB_TOKEN"), help="bearer token (SCRUB_TOKEN)")
    command.add_argument("--phone-column", action="append", help="header or 0-based index; may repeat")
    command.add_argument("--region", help="region of numbers without a country code, as in US")
    command.add_argument("--max-age-seconds", type=int, help="how old a known answer may be; 0 asks anew")


def run(flags: argparse.Namespace) -> int:
    """Scrubs one file; returns 0 all answered, 3 some failed or rejected, 130 interrupted.

    Raises:
        StackError: the file cannot be read, nothing answers, or the upload was refused.
    """
    file: Path = flags.file
    output: Path = flags.output or file.with_name(f"{file.stem}.scrubbed.csv")
    _refuse_unreadable(file)
    # SIGINT too: a shell without job control starts background commands with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    try:
        with _service(flags, console) as url:
            client = Client(url, token=flags.token, pause=time.sleep)
            with contextlib.closing(client):
                return _scrub(client, file, output, options=_options(flags), console=console)
    except KeyboardInterrupt:
        console.print("Interrupted. What was sent is kept: the upload goes on while the service runs.")
        return EXIT_INTERRUPTED


def _refuse_unreadable(file: Path) -> None:
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise StackError(f"{file} cannot be read ({error.strerror}).") from error


def _options(flags: argparse.Namespace) -> dict[str, Any]:
    given = {
        "phone_column": flags.phone_column,
        "region": flags.region,
        "max_age_seconds": flags.max_age_seconds,
    }
    return {name: value for name, value in given.items() if value is not None}


def _scrub(client: Client, file: Path, output: Path, *, options: dict[str, Any], console: Console) -> int:
    upload = _follow_with_bar(client, file, options, console)
    if upload.state == "failed":
        reason = f"{upload.error.title}: {upload.error.detail}" if upload.error else "no reason was given"
        raise StackError(f"{file} was not scrubbed. {reason}")
    client.download(upload, output)
    for line in _report(client, upload):
        print(line)
    print(f"Result     {output}")
    counts = upload.counts
    return EXIT_ANSWERED if counts.answered == counts.rows else EXIT_INCOMPLETE


def _follow_with_bar(client: Client, file: Path, options: dict[str, Any], console: Console) -> Upload:
    """On a terminal a bar; elsewhere one line for each state, so that logs stay readable."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        sending = progress.add_task("Sending (bytes)", total=file.stat().st_size)
        upload = client.send(file, options, lambda count: progress.advance(sending, count))
        progress.remove_task(sending)
        console.print(f"Upload {upload.id} of {file.name}: {client.address}{upload.links.page}")
        rows = progress.add_task("Reading the file", total=None)
        said: set[str] = set()

        def say_once(lines: Iterable[str], write: Callable[[str], None]) -> None:
            for line in lines:
                if line not in said:
                    said.add(line)
                    write(line)

        def show(now: Upload) -> None:
            say_once(detected_lines(now), print)
            say_once(_news(now, in_words=not console.is_terminal), console.print)
            done = now.counts.rows - now.counts.waiting - now.counts.unprocessed
            total = now.plan.rows if now.plan else None
            progress.update(rows, description=now.state.replace("_", " "), completed=done, total=total)

        upload = client.follow(upload, show)
        show(upload)
        return upload


def _news(upload: Upload, *, in_words: bool) -> Iterator[str]:
    """What is worth a line of its own; `in_words` also what the bar shows otherwise."""
    if in_words:
        yield f"Upload {upload.state.replace('_', ' ')}"
    if upload.why is not None and upload.why.code not in ("being_read", "waiting_turn"):
        yield f"Waiting: {upload.why.code.replace('_', ' ')}"


def _report(client: Client, upload: Upload) -> Iterator[str]:
    yield plan_line(upload)
    yield from outcome_lines(upload)
    counts = upload.counts
    if counts.rejected:
        yield "Rejected, because"
        yield from reason_lines(client.rows(upload, "rejected", at_most=_MOST_REASONS_READ), total=counts.rejected)
    if counts.failed:
        yield "Failed, because"
        yield from reason_lines(client.rows(upload, "failed", at_most=_MOST_REASONS_READ), total=counts.failed)


@contextlib.contextmanager
def _service(flags: argparse.Namespace, console: Console) -> Iterator[str]:
    """The address to use: the given one, that of the stack on the data folder, or that of a stack started for this."""
    data: Path = flags.data or Settings().data
    running = RunFolder(data).read_ready_if_alive()
    if flags.url or running:
        yield flags.url or (running.url if running else "")
        return
    console.print("No stack is running; starting one for this file.")
    with _own_stack(flags) as url:
        yield url


@contextlib.contextmanager
def _own_stack(flags: argparse.Namespace) -> Iterator[str]:
    # -P: a folder named `deploy` where the user stands must not be taken for ours.
    command = [sys.executable, "-P", "-m", "deploy.local", "up", *_stack_arguments(flags)]
    path = os.pathsep.join(filter(None, (str(_CODE), os.environ.get("PYTHONPATH"))))
    # A session of its own: Ctrl-C stops this command, which then stops the stack in order.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": path}
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        if said[:1] != ["ready"]:
            process.wait()
            raise StackError("The stack could not be started; the line above says why.")
        yield said[1]
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _stack_arguments(flags: argparse.Namespace) -> Sequence[str]:
    given = {name: getattr(flags, name) for name in _STACK_FLAGS}
    pairs = ([f"--{name.replace('_', '-')}", str(value)] for name, value in given.items() if value is not None)
    return [item for pair in pairs for item in pair]
