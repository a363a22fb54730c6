"""Owns the fences: how far each partition number has been joined, taken by compare-and-set in each transaction.

Whoever lost a partition cannot commit for it any more, because the new owner has moved its fence.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, and_, select, update

from services.assembler.domain.positions import LookupCounts, Offsets
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import fences


class FenceLost(Exception):
    """Another join has gone on with this partition since our last look: nothing of this transaction may stand."""


def load_fences(connection: Connection, partitions: Collection[int]) -> dict[int, Offsets]:
    """The fence of each partition number that has one."""
    columns = [fences.c.partition, *(fences.c[name] for name in Offsets._fields)]
    query = select(*columns).where(fences.c.partition.in_(list(partitions)))
    return {row[0]: Offsets(*row[1:]) for row in connection.execute(query)}


def create_fences(connection: Connection, partitions: Collection[int]) -> None:
    """Makes a fence at offset 0 for partition numbers that have none."""
    if partitions:
        statement = insert_or_ignore(connection, fences)
        connection.execute(statement, [{"partition": number} for number in sorted(partitions)])


def take_fences(connection: Connection, moves: Mapping[int, tuple[Offsets, Offsets]]) -> None:
    """Moves each partition's fence from where we think it is to where this transaction leaves it.

    Raises:
        FenceLost: one of them is not where we thought.
    """
    for partition, (expected, new) in sorted(moves.items()):
        unmoved = and_(*(fences.c[name] == value for name, value in expected._asdict().items()))
        statement = update(fences).where(fences.c.partition == partition, unmoved).values(**new._asdict())
        if connection.execute(statement).rowcount != 1:
            raise FenceLost(f"partition {partition} was continued by another join")


def count_lookups(connection: Connection, counts: Mapping[int, LookupCounts]) -> None:
    """Adds to the totals of each partition, whose fence this transaction has taken."""
    for partition, added in sorted(counts.items()):
        statement = update(fences).where(fences.c.partition == partition)
        connection.execute(
            statement.values(
                lookups_answered=fences.c.lookups_answered + added.answered,
                lookups_failed=fences.c.lookups_failed + added.failed,
                lookup_retries=fences.c.lookup_retries + added.retries,
            )
        )
