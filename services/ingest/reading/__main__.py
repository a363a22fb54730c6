"""Prints the layout and the totals of files: `python -m services.ingest.reading FILE... [--region GB]`."""

import argparse
import sys
from pathlib import Path

from services.ingest.reading.formats.detection import detect
from services.ingest.reading.formats.totals import totals_of
from services.ingest.reading.model import FileLayout, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused


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
        except FileRefused as refusal:
            refused = True
            print(f"{path.name}: {refusal.title} ({refusal.code}). {refusal.detail}")
    return 1 if refused else 0


def _report(path: Path, detected: FileLayout) -> None:
    totals = totals_of(path, detected, Limits())
    names = {
        "phones in": detected.phone_columns,
        "also in": detected.other_phone_columns,
        "area codes perhaps in": detected.area_column_candidates,
    }
    print(f"{path.name}: {detected.format}, {detected.encoding}, delimiter {detected.delimiter!r}")
    print(f"  sheet {detected.sheet}, header {detected.header} after {detected.skipped_lines} lines")
    for words, found in names.items():
        print(f"  {words} {', '.join(map(detected.column_name, found)) or 'none'}")
    print(f"  {totals.rows:,} rows, {totals.filled:,} filled")
    print(f"  {totals.usable:,} usable: {totals.whole:,} whole cells, {totals.split:,} split")
    print(f"  {totals.distinct_whole:,} distinct phones in whole cells")


if __name__ == "__main__":
    sys.exit(main())
