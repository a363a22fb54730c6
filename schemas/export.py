"""Exports the contract for readers of other languages: JSON Schemas of all messages, and the table of settings.

`python -m schemas.export` writes `schemas/json/`, `python -m schemas.export --settings-doc` writes `docs/settings.md`.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas import interface
from schemas.settings import SECRETS, Settings
from schemas.topics import TOPICS

CHECKOUT: Final = Path(__file__).parents[1]
JSON_FOLDER: Final = CHECKOUT / "schemas" / "json"
SETTINGS_DOC: Final = CHECKOUT / "docs" / "settings.md"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_INTERFACE: Final[tuple[type[BaseModel], ...]] = (
    interface.Row,
    interface.Queue,
    interface.Sweep,
    interface.Problem,
    interface.Page[interface.Upload],
    interface.Page[interface.Row],
)
"""What the HTTP interface returns besides the messages."""


def exported_models() -> Mapping[str, type[BaseModel]]:
    """Every model of the contract by the name of its files."""
    messages = [message for topic in TOPICS for message in topic.messages]
    return {file_stem(model): model for model in (*messages, *_INTERFACE)}


def file_stem(model: type[BaseModel]) -> str:
    """`UploadOpened` is kept in files named `upload-opened`, `Page[Row]` in `page-of-row`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", model.__name__.replace("[", "-of-").rstrip("]"))
    return re.sub(r"-+", "-", words).lower()


def json_schemas() -> Mapping[str, str]:
    """The text of each schema file by its name. Readers must ignore fields that they do not know."""
    return {f"{stem}.schema.json": _json_schema(model) for stem, model in exported_models().items()}


def _json_schema(model: type[BaseModel]) -> str:
    schema: dict[str, Any] = {"$schema": _DIALECT} | model.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def settings_doc() -> str:
    """The page of all settings, with meaning and default."""
    rows = [_settings_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join([*_SETTINGS_HEAD, *rows, *_SETTINGS_TAIL, ""])


_SETTINGS_HEAD = (
    "# Settings",
    "",
    "Environment variables, the same for every role; each reads those that concern it. This page is generated from",
    "`schemas/settings.py` by `python -m schemas.export --settings-doc`.",
    "",
    "| variable | default | meaning |",
    "|---|---|---|",
)

_SETTINGS_TAIL = (
    "",
    "Read by the local stack and by tests, not by roles:",
    "",
    "| variable | default | meaning |",
    "|---|---|---|",
    "| `SCRUB_CACHE` | `.cache` in the checkout; installed: `~/.cache/phone-scrubber` "
    "| Where Kafka's jars are kept once they are downloaded. |",
    "| `SCRUB_TOKEN` | none | Bearer token that `phone-scrubber scrub` sends. |",
    "| `SCRUB_TEST_KAFKA` | none | Broker that the tests use instead of starting one. |",
    "| `SCRUB_TEST_POSTGRES` | none | SQLAlchemy URL of a PostgreSQL database that the tests may fill. |",
    "| `SCRUB_SAMPLES` | none | Folder of sample files that the tests read in place. |",
)


def _settings_row(name: str, field: FieldInfo) -> str:
    variable = f"SCRUB_{name.upper()}"
    also = f" Also from the file named by `{variable}_FILE`." if name in SECRETS else ""
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{variable}` | {_default(field)} | {meaning}.{also} |"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None or default in ("", {}, ()):
        return "none"
    return f"`{json.dumps(default) if isinstance(default, bool) else default}`"


def write(files: Iterable[tuple[Path, str]]) -> None:
    for path, text in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Returns the exit code: 2 for arguments that make no sense."""
    if arguments == ["--settings-doc"]:
        write([(SETTINGS_DOC, settings_doc())])
        return 0
    if arguments:
        print("usage: python -m schemas.export [--settings-doc]", file=sys.stderr)
        return 2
    for stale in JSON_FOLDER.glob("*.schema.json"):
        stale.unlink()
    write((JSON_FOLDER / name, text) for name, text in json_schemas().items())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
