"""Owns the reasons to refuse a file: one code for each, which ends a problem type `/problems/<code>`."""

TITLES = {
    "empty": "The file is empty",
    "binary": "This is not a table of text",
    "not-json-lines": "This is JSON, but not JSON Lines",
    "no-phone-column": "No column with phones was found",
    "unknown-column": "There is no such column",
    "ambiguous-column": "Several columns have this name",
    "unknown-region": "There is no such region",
    "unknown-sheet": "There is no such sheet",
    "unknown-encoding": "There is no such encoding",
    "bad-delimiter": "This cannot be a delimiter",
    "too-many-rows": "The file has too many rows",
    "too-many-columns": "The file has too many columns",
    "too-much-text": "The file holds too much text",
    "header-too-long": "The header is too long",
    "cell-too-long": "A cell is too long",
    "line-too-long": "A line is too long",
    "unzipped-too-big": "The unpacked file is too big",
    "bad-archive": "The archive cannot be unpacked",
    "bad-workbook": "The workbook cannot be read",
}


class FileRefused(Exception):
    """The file cannot be processed: `code` is a key of TITLES, `detail` says what, where and what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.title = TITLES[code]
        self.detail = detail

    def __reduce__(self) -> tuple[type["FileRefused"], tuple[str, str]]:
        return FileRefused, (self.code, self.detail)
