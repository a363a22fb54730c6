"""Pins Kafka's jars anew: `python -m deploy.local.broker`."""

import sys

from deploy.local.broker.jars import HASHES, pin_anew

if __name__ == "__main__":
    print(f"{HASHES.name}: {pin_anew()} jars", file=sys.stderr)
