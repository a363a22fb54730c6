"""Publishes bad records again, by filter."""

from datetime import UTC, datetime
from typing import Annotated, Final

from aiokafka.errors import KafkaError
from pydantic import Field

from schemas.base import Message
from schemas.parts import Role
from schemas.rows import BadReason
from schemas.upload_events import OperatorActed
from schemas.values import Offset, PartitionNumber
from services.assembler.status.backend import Backend
from services.assembler.status.bad_record_list import BadRecordFilter
from services.assembler.status.bad_record_log import TOPICS, RepublishCounts, publish_again
from services.assembler.status.inputs import Input
from services.assembler.status.log_writer import log_not_available
from services.runtime.identity import Identity

TopicName = Annotated[str, Field(json_schema_extra={"enum": sorted(TOPICS)}, pattern=f"^(?:{'|'.join(TOPICS)})$")]
FILTERS: Final = ("topic", "partition", "offset", "role", "reason")


class BadRecordsInput(Input):
    topic: TopicName | None = Field(None, description="Only records of this topic")
    partition: PartitionNumber | None = Field(None, description="Only of this partition")
    offset: Offset | None = Field(None, description="Only the one at this offset")
    role: Role | None = Field(None, description="Only those that this role put aside")
    reason: BadReason | None = Field(None, description="Only those put aside for this reason")

    def wanted(self) -> BadRecordFilter:
        return BadRecordFilter(self.topic, self.partition, self.offset, self.role, self.reason)


class RetriedBadRecords(Message):
    """`gone`: no longer on their topic; `not_possible`: too large to be published; `left`: for the next request."""

    dry_run: bool
    matched: int
    retried: int
    gone: int
    not_possible: int
    left: int


async def retry(
    backend: Backend, identity: Identity, wanted: BadRecordFilter, *, dry_run: bool = False
) -> RetriedBadRecords:
    """Publishes the records that the filter covers again, each once, however many roles put it aside.

    Raises:
        ProblemError: 503 when Kafka does not answer; records published until then are off the list.
    """
    positions = {one.position for one in backend.bad_records.listed.newest_first(wanted)}
    counts = RepublishCounts()
    if positions and not dry_run:
        acted = OperatorActed(
            at=datetime.now(UTC), by=identity.owner, action="retry_bad_records", records=len(positions)
        )
        await backend.writer.publish_event(acted)
        try:
            counts = await publish_again(backend.settings, backend.writer.producer, positions)
        except (KafkaError, LookupError, TimeoutError):
            raise log_not_available() from None
    return RetriedBadRecords(
        dry_run=dry_run,
        matched=len(positions),
        retried=counts.retried,
        gone=counts.gone,
        not_possible=counts.not_possible,
        left=counts.left,
    )
