"""The example of a plain Kafka producer, run as it stands, gets its completion event from the real join."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from schemas import topics as registry
from schemas.codec import decode, encode
from schemas.interface import Upload
from schemas.lookups import LookupResult, PhoneData
from schemas.rows import UploadRow
from schemas.settings import Settings
from services.assembler.join.role import main as join
from services.runtime.kafka import topic_name
from tests.integration.ingest_world import World, running, world_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "produce_rows.py"
PHONES = ["+14155550100", "+14155550101", "+14155550100"]


async def answer_rows(world: World, settings: Settings) -> None:
    """Plays worker and gate: one result for each phone that is wanted."""
    name = topic_name(registry.UPLOAD_ROWS, settings)
    await world.until(lambda: len(world.records.get(name, [])) == len(PHONES), "the rows of the example")
    for phone in {decode(UploadRow, record.value).phone for record in world.records[name]}:
        result = LookupResult(
            phone=phone,
            outcome="ok",
            data=PhoneData(line_type="mobile", reachable="yes", do_not_call="no"),
            provider="test",
            looked_up_at=datetime.now(UTC),
            attempts=1,
        )
        await world.sender.producer.send_and_wait(
            topic_name(registry.LOOKUP_RESULTS, settings), encode(result), key=phone.encode()
        )


async def test_rows_without_any_file_reach_a_completion_event(broker: str, topics: str, tmp_path: Path) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, data=tmp_path, partitions=4)
    async with world_of(settings) as world, running(join, settings):
        example = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLE, "--kafka", broker, "--prefix", topics, *PHONES, stdout=asyncio.subprocess.PIPE
        )
        await answer_rows(world, settings)
        output, _ = await example.communicate()
    assert example.returncode == 0
    _, event, value = output.decode().split("\n", 2)
    assert event.startswith("phone-scrubber.upload.completed.v1 ")
    upload = Upload.model_validate(json.loads(value))
    assert (upload.operation, upload.state, upload.outcome) == ("kafka", "completed", "success")
    assert (upload.counts.rows, upload.counts.answered) == (3, 3)
    assert upload.summary.verdict == {"ok": 3}
