"""Starts one role of lookup: `python -m services.lookup worker|gate`."""

import sys

from schemas.settings import Settings
from services.runtime.process import RoleMain, run

_USAGE = "usage: python -m services.lookup worker|gate"
_EXIT_USAGE = 2


def role_main(role: str) -> RoleMain | None:
    """The role's entry point; each imports only what it needs."""
    if role == "worker":
        from services.lookup.worker.role import main as worker_main

        return worker_main
    if role == "gate":
        from services.lookup.gate.role import main as gate_main

        return gate_main
    return None


if __name__ == "__main__":
    chosen = role_main(sys.argv[1]) if len(sys.argv) == 2 else None
    if chosen is None:
        print(_USAGE, file=sys.stderr)
        sys.exit(_EXIT_USAGE)
    sys.exit(run(sys.argv[1], chosen, Settings()))
