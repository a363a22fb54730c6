"""Erases a phone from SQL and keeps it erased: rows that were published before the erasure are stored blank.

A keyed hash of the phone remains. Without it, a database rebuilt from Kafka would show the phone again.
"""

import hmac

from services.assembler.domain.row_state import State
from services.assembler.join.transaction.work import Work
from services.assembler.store.connections import Connection
from services.assembler.store.erasures import load_erasures, save_erasure
from services.assembler.store.result_writes import candidates_of, delete_results
from services.assembler.store.row_writes import erase_phone


class Erasures:
    """The erased phones, each with the time up to which its rows are blank; loaded for one transaction."""

    def __init__(self, connection: Connection, key: bytes) -> None:
        self._key = key
        self._until = load_erasures(connection)

    def covers(self, phone: str, published_at: int) -> bool:
        """Whether a row of the phone, published at this time (microseconds), is to be stored blank."""
        return bool(self._until) and self._until.get(self._hash(phone), -1) >= published_at

    def erase(self, work: Work, phone: str, at: int) -> None:
        """Blanks the phone's rows, deletes its results, and remembers that rows up to `at` (microseconds) are blank."""
        candidates = candidates_of(work.connection, {phone})[phone]
        held = erase_phone(work.connection, phone)
        work.open_numbers(row.upload_no for row in held)
        for row in held:
            work.changes.of(row.upload_no).move(row.row, State(row.state), State.unprocessed)
            if row.state == State.answered:
                work.untally(row, candidates)
        delete_results(work.connection, phone)
        work.cache.forget(phone)
        self._remember(work.connection, self._hash(phone), at)

    def _remember(self, connection: Connection, phone_hash: str, at: int) -> None:
        until = max(at, self._until.get(phone_hash, at))
        self._until[phone_hash] = until
        save_erasure(connection, phone_hash, until_micros=until)

    def _hash(self, phone: str) -> str:
        return hmac.digest(self._key, phone.encode(), "sha256").hex()
