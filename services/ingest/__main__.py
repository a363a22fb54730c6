"""Starts one role of ingest: `python -m services.ingest http|feeder`."""

import sys

if __name__ == "__main__":
    # Not above: the child processes of the feeder import this module too and must not load 20 MB of libraries.
    from services.runtime.process import start_role

    sys.exit(start_role("services.ingest", sys.argv[1:]))
