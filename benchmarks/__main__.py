"""`python -m benchmarks [NAME…]`: runs the benchmarks named, or all, and writes tables and JSON."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import beside, big_workbook, control, hostile, kills, known_rows, limit, reading_memory, scripts
from benchmarks.report import Figures, save, show

BENCHMARKS: dict[str, Callable[[Path], Figures]] = {
    "limit": limit.run,
    "other-limits": limit.other,
    "known-rows": known_rows.run,
    "small-beside-large": beside.run,
    "cost-per-row": known_rows.cost,
    "beside-scripts": scripts.run,
    "kills": kills.run,
    "hostile": hostile.measure,
    "reading-memory": reading_memory.run,
    "big-xlsx": big_workbook.run,
    "control": control.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all if none is given"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the JSON files")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    for name in arguments.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            figures = BENCHMARKS[name](Path(folder) / "run")
        show(figures)
        save(figures, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
