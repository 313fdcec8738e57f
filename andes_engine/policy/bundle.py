"""A policy bundle: a folder with `bundle.json` (what it is) and `weights.safetensors` (what it learned). No pickle.

The loader refuses a bundle made for other observations, actions or layers than this version computes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from andes_engine.action import ACTION_VERSION, ActionSpec
from andes_engine.entry_lines import entry_lines
from andes_engine.errors import AndesError, BundleError, check_known
from andes_engine.lengths import length_source
from andes_engine.observation import FEATURES, OBSERVATION_SIZE, OBSERVATION_VERSION
from andes_engine.policy.lstm import Lstm
from andes_engine.schedulers import scheduler_id

FORMAT = "andes-bundle-2"
READABLE = ("andes-bundle-1", FORMAT)
"""Formats this version reads; the first had no recurrent layer and always clipped."""
OUTPUTS = ("clip", "tanh")
Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_JSON, _WEIGHTS = "bundle.json", "weights.safetensors"
_LSTM = ("lstm_input", "lstm_state", "lstm_bias")
_REEXPORT = "export it again with `python -m scripts.export` from this version"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained policy, ready to serve.

    Args:
        name: What reports call it.
        layers: (weight (out, in), bias (out,)) of each layer, float32; tanh between them, none after the last.
        action: Which knobs its outputs move, and around which reference.
        decision_interval_s: Time between decisions, s.
        provenance: How it was made: config, seed, commit, versions, evaluation.
        model_card: What it was trained on, where it wins and where not; Markdown.
        output: How the last layer is brought into [-1, 1]: `clip` or `tanh`.
        lstm: Recurrent layer before the others; such a policy remembers, see `actor`.
        scheduler: Scheduler whose knobs it sets.
        lengths: Source of expected output lengths it was trained with; it sees them and acts through them.
        keep_kv: Host memory for KV caches of preempted requests it was trained with, in shares of the device's.
    """

    name: str
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    action: ActionSpec
    decision_interval_s: float
    provenance: Mapping[str, object] = field(default_factory=dict)
    model_card: str = ""
    output: str = "clip"
    lstm: Lstm | None = None
    scheduler: str = "andes"
    lengths: str = "none"
    keep_kv: float = 0.0

    def __post_init__(self) -> None:
        check_known("output of a bundle", [self.output], OUTPUTS)
        scheduler_id(self.scheduler)
        length_source(self.lengths)
        if not 0.0 <= self.keep_kv < float("inf"):
            raise BundleError(f"bundle '{self.name}': keep_kv = {self.keep_kv} must be a finite number >= 0")
        if not self.decision_interval_s > 0:
            raise BundleError(f"bundle '{self.name}': decision_interval_s = {self.decision_interval_s} must be > 0")
        if self.lstm is not None and self.lstm.inputs != OBSERVATION_SIZE:
            raise BundleError(
                f"bundle '{self.name}': its LSTM must take {OBSERVATION_SIZE} inputs, not {self.lstm.inputs}"
            )
        sizes = [self.lstm.units if self.lstm else OBSERVATION_SIZE, *(weight.shape[0] for weight, _ in self.layers)]
        for number, (weight, bias) in enumerate(self.layers):
            if weight.shape[1:] != (sizes[number],) or bias.shape != (weight.shape[0],):
                raise BundleError(
                    f"bundle '{self.name}': layer {number} has weight {weight.shape} and bias {bias.shape}; "
                    f"it must take {sizes[number]} inputs"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise BundleError(f"bundle '{self.name}': layer {number} holds NaN or infinite weights; train again")
        if not self.layers or sizes[-1] != self.action.size:
            raise BundleError(f"bundle '{self.name}': {sizes[-1]} outputs for {self.action.size} action entries")

    def check_runs_with(self, scheduler: str, lengths: str) -> None:
        """Refuse a server that runs something else than the policy was trained with.

        Raises:
            BundleError: Naming both, and what to do.
        """
        if (scheduler, lengths) != (self.scheduler, self.lengths):
            raise BundleError(
                f"bundle '{self.name}' was trained with scheduler '{self.scheduler}' and lengths '{self.lengths}', this server "
                f"runs '{scheduler}' and '{lengths}'; start it with those of the bundle"
            )

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Deterministic action in [-1, 1]. Shape (..., OBSERVATION_SIZE) -> (..., k); a few microseconds for one.

        Raises:
            BundleError: If the policy remembers: then there is no action of an observation alone.
        """
        if self.lstm is not None:
            raise BundleError(f"bundle '{self.name}' remembers what it saw; act through Bundle.actor()")
        return self.head(observation)

    def actor(self) -> Act:
        """What acts through one episode: a function of the observation that, if recurrent, starts without a memory."""
        return self.act if self.lstm is None else _Recurrent(self, self.lstm)

    def head(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """The layers, from the observation or the recurrent layer's output to the action."""
        for weight, bias in self.layers[:-1]:
            hidden = np.tanh(hidden @ weight.T + bias)
        weight, bias = self.layers[-1]
        last = hidden @ weight.T + bias
        return np.tanh(last) if self.output == "tanh" else np.clip(last, -1.0, 1.0)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Everything it learned, by the names of the file of weights."""
        named = {
            f"{kind}{n}": array for n, pair in enumerate(self.layers) for kind, array in zip("wb", pair, strict=True)
        }
        return named if self.lstm is None else named | dict(zip(_LSTM, self.lstm.arrays, strict=True))

    def save(self, folder: Path) -> Path:
        """Write the bundle; the folder appears complete or not at all."""
        if folder.exists():
            raise BundleError(f"{folder} exists already; name another folder or remove it")
        staging = folder.with_name(f".{folder.name}.{os.getpid()}")
        staging.mkdir(parents=True)
        tensors = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in self.tensors().items()}
        save_file(tensors, staging / _WEIGHTS)
        (staging / _JSON).write_text(entry_lines(self._manifest()), encoding="utf-8")
        staging.rename(folder)
        return folder

    def _manifest(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "name": self.name,
            "observation": {"version": OBSERVATION_VERSION, "features": [feature.name for feature in FEATURES]},
            "action": {
                "version": ACTION_VERSION,
                "knobs": list(self.action.names),
                "reference": dict(self.action.reference),
            },
            "runs_with": {"scheduler": self.scheduler, "lengths": self.lengths, "keep_kv": self.keep_kv},
            "layers": len(self.layers),
            "activation": "tanh",
            "output": self.output,
            "recurrent": self.lstm is not None,
            "decision_interval_s": self.decision_interval_s,
            "provenance": dict(self.provenance),
            "model_card": self.model_card,
        }


class _Recurrent:
    """A recurrent policy within one episode: what it saw so far, in its LSTM's state."""

    def __init__(self, bundle: Bundle, lstm: Lstm) -> None:
        self._bundle = bundle
        self._lstm = lstm
        self._state: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._state is None:
            fresh = np.zeros((*observation.shape[:-1], self._lstm.units), dtype=np.float32)
            self._state = fresh, fresh
        hidden, cell = self._lstm.step(observation, *self._state)
        finite = bool(np.isfinite(hidden).all() and np.isfinite(cell).all())
        self._state = (hidden, cell) if finite else None  # NaN would stay; forgotten, the next decision is sound
        return self._bundle.head(hidden)


def load_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check that this version computes what it was trained on.

    Raises:
        BundleError: Naming the file, what it says, what this version needs, and what to do.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_spec(folder, manifest)
    tensors = _read_weights(folder / _WEIGHTS)
    try:
        layers = tuple((tensors[f"w{number}"], tensors[f"b{number}"]) for number in range(int(manifest["layers"])))
        action = ActionSpec(tuple(manifest["action"]["knobs"]), manifest["action"]["reference"])
        lstm = Lstm(*(tensors[key] for key in _LSTM)) if manifest.get("recurrent") else None
        return Bundle(
            name=str(manifest["name"]),
            layers=layers,
            action=action,
            decision_interval_s=float(manifest["decision_interval_s"]),
            provenance=manifest.get("provenance", {}),
            model_card=str(manifest.get("model_card", "")),
            output=str(manifest.get("output", "clip")),
            lstm=lstm,
            **manifest.get("runs_with", {}),
        )
    except KeyError as missing:
        raise BundleError(f"{folder}: the bundle lacks {missing}; {_REEXPORT}") from None
    except AndesError as error:
        raise BundleError(f"{folder}: {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / _JSON}: damaged ({error}); {_REEXPORT}") from None


def _read_manifest(folder: Path) -> dict:
    path = folder / _JSON
    if not path.is_file():
        raise BundleError(
            f"{folder}: no policy bundle there ({_JSON} is missing); give the folder `scripts.export` wrote"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not valid JSON ({error}); {_REEXPORT}") from None
    if not isinstance(manifest, dict) or manifest.get("format") not in READABLE:
        given = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise BundleError(f"{path}: format is {given!r}, this version reads {' and '.join(READABLE)}; {_REEXPORT}")
    return manifest


def _check_spec(folder: Path, manifest: dict) -> None:
    observation = manifest.get("observation")
    observation = observation if isinstance(observation, dict) else {}
    expected = [feature.name for feature in FEATURES]
    if observation.get("version") != OBSERVATION_VERSION or observation.get("features") != expected:
        raise BundleError(
            f"{folder}: trained on observation {observation.get('version')!r} with {len(observation.get('features') or [])} "
            f"features, this version computes {OBSERVATION_VERSION!r} with {len(expected)}; train and {_REEXPORT}"
        )
    action = manifest.get("action")
    action = action if isinstance(action, dict) else {}
    if action.get("version") != ACTION_VERSION:
        raise BundleError(
            f"{folder}: acts by {action.get('version')!r}, this version applies {ACTION_VERSION!r}; train and {_REEXPORT}"
        )


def _read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot read the weights ({error}); {_REEXPORT}") from None
