"""Decides the phone of a row: tries each phone column, first its whole cell, then a search within the cell."""

from collections.abc import Sequence

from schemas.phones import Reason, normalise, search
from services.ingest.reading.area_codes import joined
from services.ingest.reading.model import FileLayout, FoundPhone, Unusable

DETAILS: dict[Reason, str] = {
    "no_phone": "The cell is blank. Fill it in, or choose further phone columns.",
    "not_a_phone": "This is no valid phone in {region}. Correct it, or choose another region or column.",
    "lost_digits": "A spreadsheet has rounded this number, so its last digits are lost. Format the column as text and "
    "save the file again from its source.",
}


def find_phone(cells: Sequence[str], detected: FileLayout) -> FoundPhone | Unusable:
    """The first usable phone of the row in the order of `detected.phone_columns`, or why there is none."""
    first_problem: Unusable | None = None
    for column in detected.phone_columns:
        cell = cells[column] if column < len(cells) else ""
        area = detected.area_column
        if area is not None and area < len(cells) and cells[area].strip() and cell.strip():
            together = normalise(joined(cells[area], cell), detected.region).phone
            if together is not None:
                return FoundPhone(together, column, False)
        phone, reason = normalise(cell, detected.region)
        if phone is not None:
            return FoundPhone(phone, column, False)
        if reason == "not_a_phone" and (inside := search(cell, detected.region)) is not None:
            return FoundPhone(inside, column, True)
        if reason is not None and (first_problem is None or (first_problem.code == "no_phone" != reason)):
            first_problem = Unusable(reason, column, cell, DETAILS[reason].format(region=detected.region))
    return first_problem or Unusable("no_phone", 0, "", DETAILS["no_phone"])
