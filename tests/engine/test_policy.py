"""The bundle and its guard: what crosses to serving, and what happens when it misbehaves."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from andes_engine.action import ActionSpec
from andes_engine.contender import contender
from andes_engine.errors import BundleError, KnobError, UnknownNameError
from andes_engine.knobs import KNOB_NAMES, KNOBS, Knobs
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.policy.lstm import Lstm

SPEC = ActionSpec(("horizon_s", "kv_watermark"), {"horizon_s": 20.0})


def make_bundle(scale: float = 0.1, spec: ActionSpec = SPEC) -> Bundle:
    rng = np.random.default_rng(0)
    first = (scale * rng.normal(size=(8, OBSERVATION_SIZE))).astype(np.float32), np.zeros(8, np.float32)
    last = (scale * rng.normal(size=(spec.size, 8))).astype(np.float32), np.zeros(spec.size, np.float32)
    return Bundle("test", (first, last), spec, 1.0, {"seed": 0}, "card")


def test_round_trip(tmp_path: Path) -> None:
    bundle = make_bundle()
    loaded = load_bundle(bundle.save(tmp_path / "b"))
    observation = np.linspace(-1, 1, OBSERVATION_SIZE, dtype=np.float32)
    assert np.array_equal(loaded.act(observation), bundle.act(observation))
    assert (loaded.name, loaded.action, loaded.decision_interval_s) == (bundle.name, bundle.action, 1.0)
    with pytest.raises(BundleError, match="exists already"):
        bundle.save(tmp_path / "b")


def test_loading_unpickles_nothing(tmp_path: Path) -> None:
    folder = make_bundle().save(tmp_path / "b")
    seen: list[str] = []
    sys.addaudithook(lambda event, _: seen.append(event) if event == "pickle.find_class" else None)
    GuardedPolicy.load(folder).decide(0.0, np.zeros(OBSERVATION_SIZE, np.float32))
    assert seen == []


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format is 'other'"),
        ({"observation": {"version": "andes-obs-0", "features": []}}, "andes-obs-0"),
        ({"observation": None}, "trained on observation None"),
        ({"action": {"version": "x"}}, "acts by 'x'"),
        ({"action": {"version": "andes-knobs-1", "knobs": ["speed"], "reference": {}}}, "unknown knob 'speed'"),
        ({"layers": 3}, "lacks 'w2'"),
        ({"decision_interval_s": 0}, "must be > 0"),
    ],
)
def test_wrong_specification_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    folder = make_bundle().save(tmp_path / "b")
    _edit(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        load_bundle(tmp_path)
    folder = make_bundle().save(tmp_path / "b")
    (folder / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="cannot read the weights"):
        load_bundle(folder)
    (folder / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        load_bundle(folder)


def test_nan_weights_are_refused() -> None:
    bundle = make_bundle()
    broken = bundle.layers[0][0].copy()
    broken[0, 0] = np.nan
    with pytest.raises(BundleError, match="NaN"):
        Bundle("broken", ((broken, bundle.layers[0][1]), bundle.layers[1]), SPEC, 1.0)


class Misbehaving:
    """A bundle that answers what it is told to."""

    name, action, decision_interval_s = "bad", SPEC, 1.0

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def actor(self) -> object:
        return self.act

    def act(self, observation: np.ndarray) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, str):
            time.sleep(0.05)
            return np.zeros(2)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (RuntimeError("boom"), "exception"),
        (np.array([np.nan, 0.0]), "not finite"),
        (np.zeros(3), "not finite"),
        (np.array([1.5, 0.0]), "out of bounds"),
        ("sleep", "over budget"),
    ],
)
def test_a_failing_policy_gives_the_reference_counted_and_logged_once(
    answer: object, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = GuardedPolicy(Misbehaving(answer))  # type: ignore[arg-type]
    for now_s in (0.0, 1.0):
        assert guard.due(now_s)
        vector = guard.decide(now_s, np.zeros(OBSERVATION_SIZE, np.float32))
        assert np.array_equal(vector, SPEC.knobs.vector)
    assert guard.fallbacks == {cause: 2}
    assert len(caplog.records) == 1


def test_zero_action_is_the_reference_and_the_ends_are_the_bounds() -> None:
    spec = ActionSpec(reference={"horizon_s": 33.3, "kv_reserve": 0.07})
    assert np.array_equal(spec.knob_vector(np.zeros(spec.size)), Knobs(spec.reference).vector)
    low, high = spec.knob_vectors(np.array([[-1.0] * spec.size, [1.0] * spec.size]))
    for name in spec.names:
        index = KNOB_NAMES.index(name)
        assert low[index] == pytest.approx(KNOBS[index].low)
        assert high[index] == pytest.approx(KNOBS[index].high)


def test_action_errors() -> None:
    with pytest.raises(UnknownNameError, match="horizon_s"):
        ActionSpec(("horizon",))
    with pytest.raises(KnobError, match="distinct"):
        ActionSpec(("horizon_s", "horizon_s"))
    with pytest.raises(KnobError, match="out of bounds"):
        ActionSpec(reference={"horizon_s": 1e6})


def test_contender_from_a_word(tmp_path: Path) -> None:
    assert contender("fcfs").scheduler == "fcfs"
    assert contender(str(make_bundle().save(tmp_path / "b"))).bundle is not None
    with pytest.raises(UnknownNameError, match="Did you mean 'andes'"):
        contender("andse")
    with pytest.raises(BundleError, match="no policy bundle"):
        contender("runs/nowhere")


def make_recurrent() -> Bundle:
    rng = np.random.default_rng(1)
    shapes = (16, OBSERVATION_SIZE), (16, 4), (16,)
    lstm = Lstm(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    head = rng.normal(size=(SPEC.size, 4)).astype(np.float32), np.zeros(SPEC.size, np.float32)
    return Bundle("recurrent", (head,), SPEC, 1.0, output="tanh", lstm=lstm)


def test_a_recurrent_policy_remembers_and_comes_back(tmp_path: Path) -> None:
    bundle = make_recurrent()
    loaded = load_bundle(bundle.save(tmp_path / "b"))
    seen = np.full(OBSERVATION_SIZE, 0.1, np.float32)
    one, two = bundle.actor(), loaded.actor()
    first, second = one(seen), one(seen)
    assert not np.array_equal(first, second) and np.abs(second).max() < 1.0
    assert np.array_equal(two(seen), first) and np.array_equal(two(seen), second)
    with pytest.raises(BundleError, match=r"act through Bundle\.actor\(\)"):
        bundle.act(seen)


def test_what_is_not_finite_is_forgotten() -> None:
    act = make_recurrent().actor()
    seen = np.full(OBSERVATION_SIZE, 0.1, np.float32)
    first = act(seen)
    assert np.isnan(act(np.full(OBSERVATION_SIZE, np.nan, np.float32))).all()
    assert np.array_equal(act(seen), first)


def test_an_idle_engine_starts_without_a_memory() -> None:
    guard, seen = GuardedPolicy(make_recurrent(), budget_s=1.0), np.full(OBSERVATION_SIZE, 0.1, np.float32)
    first, second = guard.decide(0.0, seen), guard.decide(1.0, seen)
    assert not np.array_equal(first, second)
    assert np.array_equal(guard.decide(60.0, seen), first) and guard.fallbacks == {}


def test_a_recurrent_layer_that_does_not_fit_is_refused() -> None:
    wide = np.zeros((16, 3), np.float32), np.zeros((16, 4), np.float32), np.zeros(16, np.float32)
    with pytest.raises(BundleError, match="LSTM must take"):
        Bundle("b", make_recurrent().layers, SPEC, 1.0, lstm=Lstm(*wide))
    with pytest.raises(BundleError, match="needs weights"):
        Lstm(wide[0], wide[1][:, :3], wide[2])
    with pytest.raises(BundleError, match="NaN"):
        Lstm(wide[0], wide[1], np.full(16, np.nan, np.float32))


def test_the_first_format_is_still_read(tmp_path: Path) -> None:
    bundle = make_bundle()
    folder = bundle.save(tmp_path / "b")
    manifest = json.loads((folder / "bundle.json").read_text())
    old = {key: value for key, value in manifest.items() if key not in ("output", "recurrent")}
    (folder / "bundle.json").write_text(json.dumps(old | {"format": "andes-bundle-1"}))
    seen = np.linspace(-1, 1, OBSERVATION_SIZE, dtype=np.float32)
    assert np.array_equal(load_bundle(folder).act(seen), bundle.act(seen))


def test_the_manifest_has_a_line_for_each_entry(tmp_path: Path) -> None:
    lines = (make_bundle().save(tmp_path / "b") / "bundle.json").read_text().splitlines()
    assert len(lines) == 2 + len(json.loads("".join(lines)))
