"""Starts one role of lookup: `python -m services.lookup worker|gate`."""

import sys

if __name__ == "__main__":
    from services.runtime.process import start_role

    sys.exit(start_role("services.lookup", sys.argv[1:]))
