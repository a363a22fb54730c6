"""The commands' refusals: one clear sentence on stderr and the exit code that scripts rely on."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.broker import free_port


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = {"PATH": "/usr/bin:/bin", **variables}
    command = [sys.executable, "-m", "deploy.local", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def assert_one_sentence(done: "subprocess.CompletedProcess[str]", *, code: int, says: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--port", "--kafka-port"])
def test_up_on_a_port_in_use(tmp_path: Path, flag: str) -> None:
    ports = {"--port": str(free_port()), "--kafka-port": str(free_port())}
    with socket.create_server(("127.0.0.1", int(ports[flag]))):
        arguments = [item for pair in ports.items() for item in pair]
        done = run("up", *arguments, "--data", str(tmp_path / "data"))
    assert_one_sentence(done, code=1, says=f"Port {ports[flag]} on 127.0.0.1")
    assert done.stdout == ""


def test_up_on_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = run("up", "--port", "0", "--kafka-port", "0", "--data", str(tmp_path / "file" / "data"))
    assert_one_sentence(done, code=1, says="cannot be written")


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["up", "--scale", "worker=many"], {}, "--scale worker=many"),
        (["up", "--provider", "nobody"], {}, "provider"),
        (["up"], {"SCRUB_RATE": "0"}, "SCRUB_RATE"),
    ],
)
def test_usage(arguments: list[str], variables: dict[str, str], says: str) -> None:
    assert_one_sentence(run(*arguments, **variables), code=2, says=says)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["up", "--port", "-1"], ["up", "--port", "70000"], ["scrub"]])
def test_unknown_commands_and_flags(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_the_help_of_every_command() -> None:
    for command in ("up", "scrub", "web", "simulator", "reset"):
        done = run(command, "--help")
        assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    assert "+1 931 555 01xx" in run("simulator", "--help").stdout


def test_scrub_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run("scrub", str(tmp_path / "nothing.csv"))
    assert_one_sentence(done, code=1, says="nothing.csv cannot be read")


def test_scrub_where_nothing_answers(tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("phone\n+14155550100\n", encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    assert_one_sentence(run("scrub", str(file), "--url", url), code=1, says=f"{url} does not answer")


def test_reset_deletes_the_data_folder_and_only_that(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "documents"
    (data / "run").mkdir(parents=True)
    (data / "scrub.sqlite").write_bytes(b"rows")
    other.mkdir()
    assert run("reset", "--data", str(data)).returncode == 0
    assert not data.exists()
    assert run("reset", "--data", str(data)).returncode == 0
    assert_one_sentence(run("reset", "--data", str(other)), code=1, says="does not look like a data folder")
    assert other.exists()
