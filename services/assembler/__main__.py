"""Starts one role of the assembler: `python -m services.assembler join|status`."""

import sys

if __name__ == "__main__":
    from services.runtime.process import start_role

    sys.exit(start_role("services.assembler", sys.argv[1:]))
