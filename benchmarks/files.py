"""Writes the input files of the benchmarks: contacts with names, a phone and a few more columns."""

import csv
from collections.abc import Iterable
from pathlib import Path

from benchmarks.phones import as_people_write, phone


def write_contacts(path: Path, phone_indexes: Iterable[int]) -> Path:
    """A CSV with one row for each index, in order; the spelling of a phone varies from row to row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "first_name", "last_name", "phone", "city", "note"])
        for row, index in enumerate(phone_indexes, start=1):
            spelled = as_people_write(phone(index), row)
            writer.writerow(
                [row, f"First{row % 997}", f"Last{row % 4999}", spelled, f"City {row % 313}", "call after 5"]
            )
    return path


def spread(rows: int, distinct: int) -> Iterable[int]:
    """`rows` indexes over `distinct` phones, repetitions far apart: the step shares no factor with `distinct`."""
    step = 7919
    while distinct % step == 0:
        step += 2
    return ((row * step) % distinct for row in range(rows))
