"""Entry point of `python -m deploy.local.simulator`."""

import sys

from deploy.local.simulator import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
