"""Decides whether the `SCRUB_*` settings of this environment are usable: `python -m deploy.config check`.

It opens no file but those that hold secrets, and no connection. No value of a setting is repeated: it may be a secret.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from schemas.settings import SECRETS, Settings
from services.lookup.providers.registry import UnusableUrl, make_provider
from services.runtime.process import RefusedToStart
from services.runtime.web import refuse_open_door

EXIT_USABLE, EXIT_NOT_USABLE = 0, 1
_PREFIX: Final = "SCRUB_"
_OTHER_VARIABLES: Final = ("CACHE", "TOKEN", "SAMPLES", "TEST_KAFKA", "TEST_POSTGRES")
"""Read by the local stack and by tests; docs/settings.md lists them."""
_SERVER: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(?P<port>\d{1,5}))?")
_DRIVERS: Final = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")


def known_variables() -> frozenset[str]:
    """Every `SCRUB_*` variable that something reads."""
    names = (*(name.upper() for name in Settings.model_fields), *_OTHER_VARIABLES)
    return frozenset(_PREFIX + name for name in (*names, *(f"{secret.upper()}_FILE" for secret in SECRETS)))


def problems(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What is wrong, one sentence each. `environ` must be this process's own: `Settings` reads that too."""
    return (*_unknown_variables(environ), *_unusable_settings())


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = known_variables()
    for name in sorted(name for name in environ if name.startswith(_PREFIX) and name not in known):
        close = difflib.get_close_matches(name, known, n=1)
        yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else ".")


def _unusable_settings() -> Iterator[str]:
    try:
        settings = Settings()
    except ValidationError as error:
        yield from _refused_settings(error)
        return
    except OSError as error:
        yield f"{error.filename}, named by a {_PREFIX}*_FILE variable, cannot be read ({error.strerror})."
        return
    yield from _unusable_together(settings)


def _refused_settings(error: ValidationError) -> Iterator[str]:
    for one in error.errors(include_url=False, include_input=False):
        # What follows the first part of the place may be a token: it is a key of SCRUB_TOKENS.
        name = f"{_PREFIX}{str(one['loc'][0]).upper()}" if one["loc"] else "The settings"
        yield f"{name} is not usable: {one['msg']}."


def _unusable_together(settings: Settings) -> Iterator[str]:
    if not all(_is_server(server) for server in settings.kafka.split(",")):
        yield "SCRUB_KAFKA is not usable: it must be host:port, or several of them with commas between."
    try:
        refuse_open_door(settings)
    except RefusedToStart as refusal:
        yield str(refusal)
    try:
        make_provider(settings)
    except UnusableUrl as refusal:
        yield f"{refusal}."
    if not _is_database_url(settings.database_url):
        yield "SCRUB_DATABASE is not usable: it must be a SQLAlchemy URL of sqlite or postgresql."


def _is_server(server: str) -> bool:
    """Whether it is `host:port`, `[IPv6]:port` or a host alone, which means port 9092."""
    match = _SERVER.fullmatch(server.strip())
    return match is not None and (match["port"] is None or 0 < int(match["port"]) <= 65535)


def _is_database_url(url: str) -> bool:
    try:
        return make_url(url).drivername in _DRIVERS
    except (SQLAlchemyError, ValueError):
        return False


def main(arguments: Sequence[str], *, program: str = "python -m deploy.config") -> int:
    """Prints what is wrong; returns the exit code: 0 all settings are usable, 1 some are not, 2 usage."""
    parser = argparse.ArgumentParser(program, description="Check the SCRUB_* settings of this environment.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("check", help="say what is wrong with the settings; exit code 0: nothing, 1: something")
    parser.parse_args(arguments)
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        return EXIT_NOT_USABLE
    given = sum(name.startswith(_PREFIX) for name in os.environ)
    print(f"The settings are usable. {given} {_PREFIX}* variables are set, all others have their defaults.")
    return EXIT_USABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
