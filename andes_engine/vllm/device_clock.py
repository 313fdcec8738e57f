"""When an emulated device has finished what it was given."""

from __future__ import annotations

import time
from collections.abc import Callable

Now = Callable[[], float]
Sleep = Callable[[float], None]


class DeviceClock:
    """One step after the other, each as long as a model says, host time included.

    What the host has really spent since the last step ended counts as that step's host time: a host as fast as the model's
    adds nothing, a slower one delays the device by the difference, and one that works ahead (asynchronous scheduling) never
    does. In virtual time nothing waits, and a step begins when the last one has ended.

    Args:
        host_s: The model's host time, part of every step, s.
        real_time: Whether `wait_until` waits.
        now: The clock on the wall, s.
        sleep: Waits for so many s.
    """

    def __init__(
        self, host_s: float, *, real_time: bool = True, now: Now = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._host_s = host_s
        self._real_time = real_time
        self._now, self._sleep = now, sleep
        self._free_at_s = now() if real_time else 0.0

    @property
    def now_s(self) -> float:
        """The time: on the wall, or, in virtual time, the end of the last step, s."""
        return self._now() if self._real_time else self._free_at_s

    def begin(self, duration_s: float) -> float:
        """Take a step on; returns when it will have ended, s."""
        start_s = max(self._free_at_s, self._now() - self._host_s) if self._real_time else self._free_at_s
        self._free_at_s = start_s + duration_s
        return self._free_at_s

    def skip_to(self, time_s: float) -> None:
        """In virtual time: let an idle device's clock reach a time, s; it never goes back."""
        if not self._real_time:
            self._free_at_s = max(self._free_at_s, time_s)

    def wait_until(self, time_s: float) -> None:
        """Return when it is so late, s; at once in virtual time."""
        while self._real_time and (left_s := time_s - self._now()) > 0.0:
            self._sleep(left_s)
