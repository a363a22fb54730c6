"""Owns the states of a stored row."""

from enum import IntEnum


class State(IntEnum):
    """A row's state as stored. `waiting` rows of a cancelled upload count as `unprocessed` wherever they are shown."""

    waiting = 0
    answered = 1
    failed = 2
    rejected = 3
    unprocessed = 4


STATE_NAMES = tuple(state.name for state in State)
"""The name of each stored number; `State(number).name` costs as much as the rest of a row's state."""
