"""The clock of an emulated device, and what its configuration may say; no vLLM needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from andes_engine.errors import AndesError
from andes_engine.step_time import preset
from andes_engine.step_time.presets import save_preset
from andes_engine.vllm.device_clock import DeviceClock
from andes_engine.vllm.emulation import Emulation


class Wall:
    """A clock on the wall that only moves when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def now(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.slept_s.append(time_s)
        self.now_s += 0.6 * time_s  # an early riser: waiting must go on until it is time


def test_a_host_as_fast_as_the_models_adds_nothing() -> None:
    wall = Wall()
    clock = DeviceClock(0.002, now=wall.now, sleep=wall.sleep)
    for step in range(1, 4):
        wall.now_s += 0.0015
        ends_s = clock.begin(0.010)
        assert ends_s == pytest.approx(100.0 + step * 0.010)
        clock.wait_until(ends_s)
        assert wall.now_s == pytest.approx(ends_s)


def test_a_slower_host_delays_by_the_difference() -> None:
    wall = Wall()
    clock = DeviceClock(0.002, now=wall.now, sleep=wall.sleep)
    clock.wait_until(clock.begin(0.010))
    last_s = wall.now_s
    wall.now_s += 0.005
    assert clock.begin(0.010) == pytest.approx(last_s + 0.003 + 0.010)


def test_working_ahead_queues_behind_the_device() -> None:
    wall = Wall()
    clock = DeviceClock(0.002, now=wall.now, sleep=wall.sleep)
    first_s, second_s = clock.begin(0.010), clock.begin(0.020)
    assert second_s == pytest.approx(first_s + 0.020)
    wall.now_s = second_s + 1.0  # idle since
    clock.wait_until(second_s)
    assert not wall.slept_s
    assert clock.begin(0.010) == pytest.approx(wall.now_s - 0.002 + 0.010)


def test_virtual_time_never_waits() -> None:
    wall = Wall()
    clock = DeviceClock(0.002, real_time=False, now=wall.now, sleep=wall.sleep)
    clock.wait_until(clock.begin(0.5))
    assert (clock.now_s, wall.slept_s) == (0.5, [])
    clock.skip_to(3.0)
    clock.skip_to(1.0)
    assert clock.begin(0.5) == clock.now_s == 3.5


def test_a_preset_says_how_long_and_how_much() -> None:
    emulation = Emulation.from_section({"emulate": "h100_llama3_8b"})
    assert emulation == Emulation.from_section({"emulate": {"engine": "h100_llama3_8b"}})
    assert emulation.capacity_tokens == 452_000 and emulation.step_time(0, 1, 1, 0) == pytest.approx(0.0069, rel=0.01)
    assert Emulation("h100_llama3_8b", kv_tokens=9000).capacity_tokens == 9000


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "must name a step-time preset"),
        ({"kv_tokens": 100}, "must name a step-time preset"),
        ("h100_lama3_8b", "Did you mean 'h100_llama3_8b'"),
        ({"engine": "h100_llama3_8b", "kv_token": 100}, "Did you mean 'kv_tokens'"),
        ({"engine": "h100_llama3_8b", "kv_tokens": 0}, "kv_tokens = 0 must be"),
        ({"engine": "h100_llama3_8b", "kv_tokens": True}, "kv_tokens = True must be"),
        ({"engine": "h100_llama3_8b", "real_time": 1}, "real_time = 1 must be"),
    ],
)
def test_what_cannot_be_emulated_is_refused(given: object, told: str) -> None:
    with pytest.raises(AndesError, match=told):
        Emulation.from_section({"emulate": given})


def test_a_preset_of_ones_own_needs_a_size(tmp_path: Path) -> None:
    path = str(save_preset(preset("a100_llama3_8b"), tmp_path / "mine.json"))
    with pytest.raises(AndesError, match="does not say how much KV cache it has; give kv_tokens"):
        Emulation(path)
    assert Emulation(path, kv_tokens=9000).step_time.decode == preset("a100_llama3_8b").decode
