"""Users of a real engine by number, so that compiled code can keep a counter for each."""

from __future__ import annotations

from collections import Counter

MOST_USERS = 4096
"""Users remembered at once; beyond, one without a request is forgotten. Who comes back starts at the least counter of those
waiting (`schedulers.vtc.lift`), so an idle user has little to be remembered for."""


class UserNumbers:
    """Hands out numbers to names, and takes back those of idle users when there are too many."""

    def __init__(self, most_users: int = MOST_USERS) -> None:
        self._most_users = most_users
        self._number_of: dict[str, int] = {}
        self._requests: Counter[str] = Counter()

    def enter(self, name: str) -> tuple[int, bool]:
        """A request of this user has arrived: the user's number, and whether it is new (or somebody else's before)."""
        self._requests[name] += 1
        if name in self._number_of:
            return self._number_of[name], False
        self._number_of[name] = number = self._free_number()
        return number, True

    def leave(self, name: str) -> None:
        """A request of this user is gone."""
        self._requests[name] -= 1
        if self._requests[name] == 0:
            del self._requests[name]

    def _free_number(self) -> int:
        if len(self._number_of) >= self._most_users:
            idle = next((name for name in self._number_of if name not in self._requests), None)
            if idle is not None:
                return self._number_of.pop(idle)
        return len(self._number_of)
