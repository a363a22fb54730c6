"""Prints a benchmark's figures as a table and keeps them as JSON, with the machine they were measured on."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

Cell = str | int | float | None


@dataclass(frozen=True)
class Figures:
    """The outcome of one benchmark: its name, what it shows, and rows of the same columns."""

    name: str
    title: str
    rows: Sequence[Mapping[str, Cell]]
    aims: Mapping[str, str]
    """Column and aim, as the README states it."""


def show(figures: Figures) -> None:
    table = Table(title=f"{figures.name}: {figures.title}")
    columns = list(figures.rows[0])
    for column in columns:
        table.add_column(column if column not in figures.aims else f"{column}\n(aim {figures.aims[column]})")
    for row in figures.rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=160).print(table)


def save(figures: Figures, folder: Path) -> Path:
    """Writes `<folder>/<name>.json` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{figures.name}.json"
    machine = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }
    measured = {
        "name": figures.name,
        "title": figures.title,
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine,
        "aims": dict(figures.aims),
        "rows": [dict(row) for row in figures.rows],
    }
    path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return path


def _text(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
