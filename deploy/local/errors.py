"""Owns the error by which the local stack says that it cannot continue."""


class StackError(Exception):
    """The text is one sentence for the terminal: what is wrong, where, and what to do."""
