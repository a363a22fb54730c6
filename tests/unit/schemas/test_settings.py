"""Settings: secrets from files, tokens as JSON, the database's default."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.settings import Settings


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("SCRUB_LOOKUP_KEY_FILE", str(tmp_path / "key"))
    key = Settings().lookup_key
    assert key is not None
    assert key.get_secret_value() == "s3cret"


def test_tokens_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUB_TOKENS", json.dumps({"t1": "ann"}))
    monkeypatch.setenv("SCRUB_ADMIN_TOKENS", json.dumps(["t2"]))
    assert Settings().tokens == {"t1": "ann"}
    assert Settings().admin_tokens == ("t2",)


def test_no_secret_shows_in_the_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUB_LOOKUP_KEY", "s3cret")
    monkeypatch.setenv("SCRUB_HASH_KEY", "h4sh")
    monkeypatch.setenv("SCRUB_TOKENS", '{"t0ken":"ann"}')
    monkeypatch.setenv("SCRUB_ADMIN_TOKENS", '["r00t"]')
    monkeypatch.setenv("SCRUB_DATABASE", "postgresql+psycopg://scrub:pa55@db/scrub")
    for secret in ("s3cret", "h4sh", "t0ken", "r00t", "pa55"):
        assert secret not in repr(Settings())


def test_a_wrong_value_names_its_setting() -> None:
    with pytest.raises(ValidationError, match="rate"):
        Settings(rate=0)


def test_the_database_is_sqlite_in_the_data_folder_unless_set(tmp_path: Path) -> None:
    assert Settings(data=tmp_path).database_url == f"sqlite:///{tmp_path / 'scrub.sqlite'}"
    assert Settings(database="postgresql+psycopg://db/scrub").database_url == "postgresql+psycopg://db/scrub"
