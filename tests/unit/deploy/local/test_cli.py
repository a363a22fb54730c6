"""The commands' refusals: one clear sentence on stderr and the exit code that scripts rely on."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.broker import free_port
from deploy.local.cli import main


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    stdout: str
    stderr: str

    def says_in_one_sentence(self, text: str, *, code: int) -> bool:
        assert (self.code, self.stderr.count("\n")) == (code, 1), self.stderr
        assert text in self.stderr
        return True


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: `run("up", "--port", "0", SCRUB_RATE="1")`."""
    for name in [name for name in os.environ if name.startswith("SCRUB_")]:
        monkeypatch.delenv(name)

    def run_command(*arguments: str, **variables: str) -> Done:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run_command


@pytest.mark.parametrize("flag", ["--port", "--kafka-port"])
def test_up_on_a_port_in_use(run: Run, tmp_path: Path, flag: str) -> None:
    ports = {"--port": str(free_port()), "--kafka-port": str(free_port())}
    with socket.create_server(("127.0.0.1", int(ports[flag]))):
        arguments = [item for pair in ports.items() for item in pair]
        done = run("up", *arguments, "--data", str(tmp_path / "data"))
    assert done.says_in_one_sentence(f"Port {ports[flag]} on 127.0.0.1", code=1)
    assert done.stdout == ""


def test_up_on_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = run("up", "--port", "0", "--kafka-port", "0", "--data", str(tmp_path / "file" / "data"))
    assert done.says_in_one_sentence("cannot be written", code=1)


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["up", "--scale", "worker=many"], {}, "--scale worker=many"),
        (["up", "--provider", "nobody"], {}, "provider"),
        (["up"], {"SCRUB_RATE": "0"}, "SCRUB_RATE"),
    ],
)
def test_usage(run: Run, arguments: list[str], variables: dict[str, str], says: str) -> None:
    assert run(*arguments, **variables).says_in_one_sentence(says, code=2)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["up", "--port", "-1"], ["up", "--port", "70000"], ["scrub"]])
def test_unknown_commands_and_flags(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_the_help_of_every_command(run: Run) -> None:
    for command in ("up", "scrub", "web", "simulator", "reset", "topics", "config", "show"):
        done = run(command, "--help")
        assert (done.code, done.stdout[:6]) == (0, "usage:")
    assert "+1 931 555 01xx" in run("simulator", "--help").stdout


def test_scrub_of_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    done = run("scrub", str(tmp_path / "nothing.csv"))
    assert done.says_in_one_sentence("nothing.csv cannot be read", code=1)


def test_scrub_where_nothing_answers(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("phone\n+14155550100\n", encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    assert run("scrub", str(file), "--url", url).says_in_one_sentence(f"{url} does not answer", code=1)


def test_reset_deletes_the_data_folder_and_only_that(run: Run, tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "documents"
    (data / "run").mkdir(parents=True)
    (data / "scrub.sqlite").write_bytes(b"rows")
    other.mkdir()
    assert run("reset", "--data", str(data)).code == 0
    assert not data.exists()
    assert run("reset", "--data", str(data)).code == 0
    assert run("reset", "--data", str(other)).says_in_one_sentence("does not look like a data folder", code=1)
    assert other.exists()


def test_the_command_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    command = [sys.executable, "-m", "deploy.local", "up", "--data", str(tmp_path / "file" / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
