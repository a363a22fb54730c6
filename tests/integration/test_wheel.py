"""The wheel: built without a network, installed away from the checkout, it runs and clashes with nobody's packages."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("schemas", "services", "deploy")
NOT_SHIPPED = ("deploy/k8s/", "deploy/local/setup.sh", "deploy/not-in-image.txt")
Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECONDS = 120


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index"]
    # No isolation: the build backend is one of the development requirements, nothing is downloaded.
    command += ["--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("phone_scrubber-*.whl")
    return made


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the installed command in an empty folder: `run("config", "check", SCRUB_RATE="0")`."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    without = {name: value for name, value in os.environ.items() if not name.startswith("SCRUB_")}

    def run_command(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        search_path = os.pathsep.join(filter(None, (variables.get("PYTHONPATH"), str(site))))
        env = without | variables | {"PYTHONPATH": search_path}
        script = [sys.executable, str(site / "bin" / "phone-scrubber"), *arguments]
        return subprocess.run(
            script, capture_output=True, text=True, cwd=elsewhere, env=env, timeout=SECONDS, check=False
        )

    return run_command


def test_it_holds_everything_that_the_checkout_has_and_one_top_level_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in held} == {"phone_scrubber"}
    files = [path for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(CHECKOUT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {f"phone_scrubber/{name}" for name in names if not name.startswith(NOT_SHIPPED)} <= held


def test_the_command_says_what_it_can(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: phone-scrubber")
    for command in ("up", "scrub", "reset", "topics", "config", "show"):
        assert f"\n    {command} " in done.stdout


def test_config_check(run: Run) -> None:
    assert run("config", "check").returncode == 0
    wrong = run("config", "check", SCRUB_RATE="0")
    assert (wrong.returncode, wrong.stderr.split()[0]) == (1, "SCRUB_RATE")


def test_a_package_of_the_same_name_is_not_taken_for_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "__init__.py").write_text("raise SystemExit('not ours')", encoding="utf-8")
    done = run("reset", "--data", str(tmp_path / "nothing"), PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
