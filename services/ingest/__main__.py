"""Starts one role of ingest: `python -m services.ingest http|feeder`."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.runtime.process import RoleMain

_USAGE = "usage: python -m services.ingest http|feeder"
_EXIT_USAGE = 2


def role_main(role: str) -> "RoleMain | None":
    """The role's entry point; each imports only what it needs."""
    if role == "http":
        from services.ingest.http.role import main as http_main

        return http_main
    if role == "feeder":
        from services.ingest.feeder.role import main as feeder_main

        return feeder_main
    return None


if __name__ == "__main__":
    # Not above: the children of the feeder import this module too, and these are 20 MB that they do not need.
    from schemas.settings import Settings
    from services.runtime.process import run

    chosen = role_main(sys.argv[1]) if len(sys.argv) == 2 else None
    if chosen is None:
        print(_USAGE, file=sys.stderr)
        sys.exit(_EXIT_USAGE)
    sys.exit(run(sys.argv[1], chosen, Settings()))
