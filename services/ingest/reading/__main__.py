"""Says what files are and what they hold: `python -m services.ingest.reading FILE... [--region GB]`."""

import argparse
import sys
from pathlib import Path

from services.ingest.reading.accounting import figures_of
from services.ingest.reading.detection import detect
from services.ingest.reading.model import Detected, Limits, ReadOptions
from services.ingest.reading.refusals import Refused


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.ingest.reading", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--region", default="US")
    parser.add_argument("--phone-column", action="append", default=[])
    parser.add_argument("--area-column")
    parser.add_argument("--sheet")
    given = parser.parse_args()
    options = ReadOptions(
        phone_columns=tuple(given.phone_column), area_column=given.area_column, region=given.region, sheet=given.sheet
    )
    refused = False
    for path in given.files:
        try:
            _report(path, detect(path, options, Limits()))
        except Refused as refusal:
            refused = True
            print(f"{path.name}: {refusal.title} ({refusal.code}). {refusal.detail}")
    return 1 if refused else 0


def _report(path: Path, detected: Detected) -> None:
    figures = figures_of(path, detected, Limits())
    others = ", ".join(map(detected.column_name, detected.other_phone_columns)) or "none"
    areas = ", ".join(map(detected.column_name, detected.area_column_candidates)) or "none"
    print(
        f"{path.name}: {detected.format}, {detected.encoding}, delimiter {detected.delimiter!r}, sheet {detected.sheet}, "
        f"header {detected.header} after {detected.skipped_lines} lines\n"
        f"  phones in {', '.join(map(detected.column_name, detected.phone_columns))}; also in {others}; area codes in {areas}\n"
        f"  {figures.rows:,} rows, {figures.filled:,} filled, {figures.usable:,} usable, of these {figures.split:,} split; "
        f"{figures.distinct_whole:,} distinct"
    )


if __name__ == "__main__":
    sys.exit(main())
