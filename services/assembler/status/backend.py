"""Holds what every endpoint and page needs, one per application: SQL, the live hub, and the writer to Kafka."""

from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from schemas.settings import Settings
from services.assembler.status.bad_record_log import BadRecordLog
from services.assembler.status.database_reader import DatabaseReader
from services.assembler.status.live import LiveHub
from services.assembler.status.log_writer import LogWriter
from services.assembler.status.upload_finder import UploadFinder
from services.assembler.status.upload_views import UploadViews


@dataclass(frozen=True, slots=True)
class Backend:
    """`uploads` finds an upload's record, `views` turns records into what people see, `writer` writes to Kafka."""

    settings: Settings
    database: DatabaseReader
    hub: LiveHub
    bad_records: BadRecordLog
    uploads: UploadFinder
    views: UploadViews
    writer: LogWriter


def build_backend(
    settings: Settings, *, database: DatabaseReader, producer: AIOKafkaProducer, hub: LiveHub, bad_records: BadRecordLog
) -> Backend:
    return Backend(
        settings=settings,
        database=database,
        hub=hub,
        bad_records=bad_records,
        uploads=UploadFinder(database, hub),
        views=UploadViews(settings, database, hub),
        writer=LogWriter(settings, producer),
    )
