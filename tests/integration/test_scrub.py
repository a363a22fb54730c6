"""The scrub command on a running stack: what it writes, what it says, and the exit codes that scripts rely on."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

from tests.fixtures.stack import CHECKOUT, RunningStack
from tests.support.waiting import eventually_sync

CONTACTS = CHECKOUT / "examples" / "contacts.csv"


def command(stack: RunningStack, file: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local", "scrub", str(file), "--data", str(stack.data), *flags]


def scrub(stack: RunningStack, file: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(stack, file, *flags), capture_output=True, text=True, check=False, timeout=120)


def cells(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as rows:
        return list(csv.reader(rows))


def test_the_example_file(stack: RunningStack, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    done = scrub(stack, CONTACTS, "-o", str(output))
    assert done.returncode == 3, done.stderr
    given, written = cells(CONTACTS), cells(output)
    assert [row[: len(given[0])] for row in written] == given
    assert "60 rows → 58 usable → 44 distinct phones" in done.stdout
    assert "58 answered, 2 rejected" in done.stdout
    assert "1 × the phone cell is empty (row 17)" in done.stdout
    assert 'column 2 "Phone"' in done.stdout
    assert "555" not in done.stdout + done.stderr, "phones are not shown"


def test_all_rows_answered(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text("phone\n+14155550100\n+14155550101\n", encoding="utf-8")
    done = scrub(stack, file)
    assert done.returncode == 0, done.stderr
    assert len(cells(tmp_path / "two.scrubbed.csv")) == 3


def test_a_refused_file_leaves_an_older_result_alone(stack: RunningStack, tmp_path: Path) -> None:
    file, older = tmp_path / "words.csv", tmp_path / "words.scrubbed.csv"
    file.write_text("colour,shape\nred,round\n", encoding="utf-8")
    older.write_text("older", encoding="utf-8")
    done = scrub(stack, file)
    assert done.returncode == 1
    assert "words.csv was not scrubbed" in done.stderr
    assert older.read_text(encoding="utf-8") == "older"


def test_an_interrupted_command_leaves_the_upload_going_on(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    phones = "".join(f"+1702555{number:04d}\n" for number in range(100, 150))
    file.write_text(f"phone\n{phones}", encoding="utf-8")
    with subprocess.Popen(command(stack, file), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        path = process.stderr.readline().split()[-1].removeprefix(f"{stack.url}/uploads/")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    with stack.client() as client:
        eventually_sync(
            lambda: client.get(f"/v1/uploads/{path}").json()["state"] == "completed",
            seconds=60,
            what="the upload to be completed",
        )
