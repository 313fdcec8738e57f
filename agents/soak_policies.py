"""Policies to exchange under load: sound ones, ones that must be refused, ones that fail when they act. All but one are data."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from agents.local_server import LocalServer
from agents.random_policy import ACTION, random_bundle
from andes_engine.observation import FEATURES, OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from andes_engine.policy.location import FILES, NO_POLICY

MANIFEST, WEIGHTS = FILES
APPLIED, REFUSED = "applied", "refused"
RAISES = "raises"
"""Name of the bundle that `soak_faults.faulty_scheduler` makes raise."""

_QOE = [feature.name for feature in FEATURES].index("qoe")
_FOLDER = "policies"
_POLL_S = 0.2
_EXCHANGE_LIMIT_S = 60.0


class Exchange(NamedTuple):
    """A policy that the server was told to take.

    Args:
        policy: Its name.
        expected: Whether it should have been applied or refused.
        seconds: Time until the server's metrics said so; None if they never did.
    """

    policy: str
    expected: str
    seconds: float | None


class Poison(NamedTuple):
    """A policy of the soak.

    Args:
        make: Writes it to a folder.
        expected: What the server must do with it.
        fallback: Label of the fallbacks it must cause once it acts; empty for none.
    """

    make: Callable[[Path], object]
    expected: str = APPLIED
    fallback: str = ""


def deep_bundle(layers: int = 30_000) -> Bundle:
    """Takes about ten times what a decision may take: so many tiny layers, one after the other."""
    first = np.zeros((2, OBSERVATION_SIZE), np.float32), np.zeros(2, np.float32)
    same = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    last = np.zeros((ACTION.size, 2), np.float32), np.zeros(ACTION.size, np.float32)
    return Bundle("deep", (first, *[same] * layers, last), ACTION, 1.0)


def overflowing_bundle(units: int = 64) -> Bundle:
    """Finite weights, sound at the loader's trial of zeros, NaN as soon as there is a request: infinity minus infinity."""
    opened, huge = np.zeros((units, OBSERVATION_SIZE), np.float32), np.full((ACTION.size, units), 3e38, np.float32)
    opened[:, _QOE] = 1e6
    huge[:, 1::2] *= -1.0
    first, last = (opened, np.zeros(units, np.float32)), (huge, np.zeros(ACTION.size, np.float32))
    return Bundle("overflowing", (first, last), ACTION, 1.0)


def _with_nan(folder: Path) -> None:
    random_bundle("nan", 0).save(folder)
    tensors = load_file(folder / WEIGHTS)
    tensors["w0"][0, 0] = np.nan
    save_file(tensors, folder / WEIGHTS)


def _damaged(folder: Path) -> None:
    random_bundle("damaged", 0).save(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps({**manifest, "layers": "many"}), encoding="utf-8")


def _cut_off(folder: Path) -> None:
    random_bundle("cut_off", 0).save(folder)
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:100])


POLICIES: dict[str, Poison] = {
    "first": Poison(lambda folder: random_bundle("first", 1).save(folder)),
    "nan": Poison(_with_nan, REFUSED),
    "deep": Poison(lambda folder: deep_bundle().save(folder), fallback="policy_over_budget"),
    "damaged": Poison(_damaged, REFUSED),
    "overflowing": Poison(lambda folder: overflowing_bundle().save(folder), fallback="policy_not_finite"),
    "cut_off": Poison(_cut_off, REFUSED),
    RAISES: Poison(lambda folder: random_bundle(RAISES, 2).save(folder), fallback="policy_exception"),
    "nowhere": Poison(lambda folder: None, REFUSED),
    "second": Poison(lambda folder: random_bundle("second", 3).save(folder)),
    NO_POLICY: Poison(lambda folder: None),
}
"""What a soak exchanges, in this order, again and again."""


def write_policies(server: LocalServer) -> None:
    """Write all of them where `exchange_policies` looks for them."""
    for name, policy in POLICIES.items():
        policy.make(server.folder / _FOLDER / name)


async def exchange_policies(
    server: LocalServer, names: tuple[str, ...], every_s: float, stop: asyncio.Event, done: list[Exchange]
) -> None:
    """Name one policy after the other in the server's file until `stop`; what came of each is added to `done`."""
    turn = 0
    while not stop.is_set():
        name = names[turn % len(names)]
        try:
            done.append(await asyncio.to_thread(_exchange, server, name))
        except OSError:  # a server that is gone is told of by the checks
            done.append(Exchange(name, POLICIES[name].expected, None))
        turn += 1
        await pause(stop, every_s)


def _exchange(server: LocalServer, name: str) -> Exchange:
    expected = POLICIES[name].expected
    before, started_s = swaps(server, expected), time.monotonic()
    staging = server.policy.with_suffix(".part")
    staging.write_text(f"{name if name == NO_POLICY else f'{_FOLDER}/{name}'}\n", encoding="utf-8")
    staging.replace(server.policy)
    while swaps(server, expected) == before:
        if time.monotonic() - started_s > _EXCHANGE_LIMIT_S:
            return Exchange(name, expected, None)
        time.sleep(_POLL_S)
        server.complete(1)  # a policy takes over before a step, and the load may be over
    return Exchange(name, expected, time.monotonic() - started_s)


def swaps(server: LocalServer, result: str) -> float:
    """Policies the server has applied or refused since it started."""
    return server.metric("andes_policy_swaps_total", result=result)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
