"""Owns the SQL type of a point in time."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, TypeDecorator

from services.assembler.domain.stored_numbers import from_micros, to_micros


class Instant(TypeDecorator[datetime]):
    """A point in time, stored as microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    # SQLAlchemy's signature.
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_micros(value)

    # SQLAlchemy's signature.
    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_micros(value)
