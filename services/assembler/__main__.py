"""Starts a role of the assembler: `python -m services.assembler join|status`."""

import sys
from importlib import import_module

from schemas.settings import Settings
from services.runtime.process import run

ROLES = {"join": "services.assembler.join.role", "status": "services.assembler.status.role"}
"""Imported only when asked for: a role does not load what the other needs."""
EXIT_USAGE = 2


def main(arguments: list[str]) -> int:
    """Runs the role; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        print(f"usage: python -m services.assembler {'|'.join(ROLES)}", file=sys.stderr)
        return EXIT_USAGE
    return run(arguments[0], import_module(ROLES[arguments[0]]).main, Settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
