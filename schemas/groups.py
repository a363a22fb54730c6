"""Owns the names of the consumer groups, as Kafka knows them after `SCRUB_TOPIC_PREFIX`."""

from typing import Final

FEEDER: Final = "feeder"
WORKER: Final = "lookup"
"""Faust's name for the app, and so the first word of its changelog's name too."""
GATE: Final = "lookup-gate"
"""Its members commit on `lookup-requests`; a successful commit is the gate's lease."""
JOIN: Final = "assembler-join"
