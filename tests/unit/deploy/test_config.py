"""What `config check` says: every problem at once, by the variable's name, and never a value."""

import os
from pathlib import Path

import pytest

from deploy.config import known_variables, main, problems
from schemas.export import SETTINGS_DOC


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SCRUB_")]:
        monkeypatch.delenv(name)


def said(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    for name, value in variables.items():
        monkeypatch.setenv(f"SCRUB_{name}", value)
    return problems()


def test_the_defaults_are_usable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "The settings are usable" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE", "0"),
        ("KAFKA", "kafka:99999"),
        ("KAFKA", "http://kafka:9092"),
        ("DATABASE", "mysql://db/scrub"),
        ("DATABASE", "no url"),
        ("LOOKUP_URL", "ftp://api.example.com"),
        ("HOST", "0.0.0.0"),
        ("TOKENS", "no JSON"),
        ("PROVIDER", "nobody"),
    ],
)
def test_a_setting_that_is_not_usable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (sentence,) = said(monkeypatch, **{name: value})
    assert sentence.startswith(f"SCRUB_{name} ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA", "kafka-0:9092,kafka-1:9092"),
        ("KAFKA", "[::1]:9092"),
        ("KAFKA", "kafka"),
        ("DATABASE", "postgresql://scrub@db/scrub"),
        ("LOOKUP_URL", "https://api.example.com/phones/{phone}"),
    ],
)
def test_settings_that_roles_take(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert said(monkeypatch, **{name: value}) == ()


def test_every_problem_is_said_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SCRUB_RATE", "0")
    monkeypatch.setenv("SCRUB_REGION", "Mars")
    monkeypatch.setenv("SCRUB_RATES", "10")
    assert main(["check"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["SCRUB_RATES", "SCRUB_RATE", "SCRUB_REGION"]


def test_a_misspelled_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, KAFKKA="kafka:9092") == ("SCRUB_KAFKKA is not a setting; did you mean SCRUB_KAFKA?",)


def test_no_secret_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = said(
        monkeypatch,
        TOKENS='{"s3cret": ""}',
        ADMIN_TOKENS='{"s3cret": 1}',
        DATABASE="mysql://scrub:s3cret@db/scrub",
        LOOKUP_KEY="s3cret",
    )
    assert sentences
    assert "s3cret" not in " ".join(sentences)


def test_a_secret_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (sentence,) = said(monkeypatch, LOOKUP_KEY_FILE=str(tmp_path / "nothing"))
    assert "cannot be read" in sentence


def test_every_documented_variable_is_known() -> None:
    rows = [line for line in SETTINGS_DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| `SCRUB_")]
    assert rows
    assert {row.split("`")[1] for row in rows} <= known_variables()


def test_usage() -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
