"""Owns the attempts of phones that have failed, until their results account for each call. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from services.lookup.gate.retries import NEW, History


@dataclass(frozen=True, slots=True)
class Orphan:
    """A phone that failed and that no upload wants any more. Its calls have to be accounted for."""

    phone: str
    history: History


class PhoneHistories(Mapping[str, History]):
    """The history of each phone that has failed and has no result yet.

    - `orphans`: phones that no upload wants any more. A result has to account for their calls.
    - `erased`: phones whose data was erased and whose retry still has to be erased from the log.
    """

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}
        self._orphans: dict[str, None] = {}
        self._erased: dict[str, None] = {}

    def __getitem__(self, phone: str) -> History:
        return self._histories[phone]

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories)

    def __len__(self) -> int:
        return len(self._histories)

    @property
    def orphans(self) -> Collection[str]:
        return self._orphans.keys()

    @property
    def erased(self) -> Collection[str]:
        return self._erased.keys()

    def of(self, phone: str) -> History:
        """The phone's history; an empty one if it has not failed."""
        return self._histories.get(phone, NEW)

    def remember(self, phone: str, history: History) -> None:
        self._histories[phone] = history

    def end(self, phone: str) -> bool:
        """The phone's attempts are over. Returns whether it had any: then its retry needs a tombstone."""
        self._orphans.pop(phone, None)
        return self._histories.pop(phone, None) is not None

    def erase(self, phone: str) -> None:
        """All that is known of the phone was erased. Nothing accounts for its calls any more."""
        if self.end(phone):
            self._erased[phone] = None

    def unwanted(self, phone: str) -> None:
        """No upload wants the phone any more: if it has failed, it is an orphan."""
        if phone in self._histories:
            self._orphans[phone] = None

    def wanted(self, phone: str) -> None:
        """An upload wants the phone again."""
        self._orphans.pop(phone, None)

    def take_erased(self) -> str | None:
        """Takes out one phone whose retry has to be erased. None: there are no more of them."""
        while self._erased:
            phone = next(iter(self._erased))
            del self._erased[phone]
            if phone not in self._histories:
                return phone
        return None

    def take_orphan(self, is_wanted: Callable[[str], bool]) -> Orphan | None:
        """Takes out one orphan and ends its attempts. None: there are no more of them."""
        while self._orphans:
            phone = next(iter(self._orphans))
            del self._orphans[phone]
            if phone in self._histories and not is_wanted(phone):
                return Orphan(phone, self._histories.pop(phone))
        return None
