"""The one way in which the local stack says that it cannot go on."""


class StackError(Exception):
    """The text is one sentence for the terminal: what is wrong, where, and what to do."""
