"""A plain Faust worker that notes each record that it has done; run by the tests of Faust's hazards.

Usage: python -m tests.integration.faust_hazards KAFKA TOPIC APP DONE_FILE fine|raises|hangs
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import faust

TROUBLE = b"trouble"


def build_app(kafka: str, topic_name: str, name: str, *, done: Path, trouble: str) -> faust.App:
    app = faust.App(
        name,
        broker=f"kafka://{kafka}",
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=0.5,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        consumer_auto_offset_reset="earliest",
        datadir=done.parent / "faust",
    )
    topic = app.topic(topic_name, value_type=bytes, value_serializer="raw")

    async def agent(stream: Any) -> None:
        async for value in stream:
            if value == TROUBLE and trouble == "raises":
                raise RuntimeError("a lookup failed in a way that nobody foresaw")
            if value == TROUBLE and trouble == "hangs":
                await asyncio.Event().wait()
            with done.open("ab") as file:
                file.write(value + b"\n")

    app.agent(topic, name="calls", concurrency=2 if trouble == "hangs" else 1)(agent)
    return app


async def main(kafka: str, topic: str, name: str, done_file: str, trouble: str) -> None:
    await build_app(kafka, topic, name, done=Path(done_file), trouble=trouble).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
