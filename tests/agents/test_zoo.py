"""The zoo: policies by name wherever a policy is named, and training runs published into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.cli import compose
from agents.compare import contenders_of
from agents.config import CompareConfig, ServeConfig
from agents.export import policy_folder
from agents.rows import bundle_hash
from agents.schema import ConfigError, from_mapping
from agents.serve import serve_command
from agents.zoo import entries
from agents.zoo.entries import FOLDER, recipes, zoo_names
from agents.zoo.publish import PAGE, ZooConfig, publish
from agents.zoo.table import zoo_page
from andes_engine.errors import AndesError, BundleError, UnknownNameError
from andes_engine.policy.bundle import load_bundle
from tests.engine.test_policy import make_bundle

MakeRun = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> MakeRun:
    """The directory of a made-up training run with a bundle."""

    def make(number: int, qoe: float, **history: object) -> str:
        config = {
            "engine": {"name": "small_gpu"},
            "workload": {"name": "bursts"},
            "scheduler": {"name": "tuned_andes"},
            "agent": {"algorithm": "ppo"},
        }
        told = {"seed": number, "validation": {"qoe": qoe, "gain": qoe - 0.8}, "config": config, **history}
        bundle = replace(
            make_bundle(0.1 * number), name="learned", provenance=told, model_card="# learned\n\nSets knobs.\n"
        )
        return str(bundle.save(tmp_path / f"run{number}" / "bundle").parent)

    return make


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    (tmp_path / "zoo_folder").mkdir()
    return tmp_path / "zoo_folder"


def config(*runs: str, name: str = "quick", **more: object) -> ZooConfig:
    return ZooConfig(name, runs, recipe="demo", **more)  # type: ignore[arg-type]


def test_the_best_seed_gets_the_plain_name(run: MakeRun, zoo: Path) -> None:
    runs = [run(1, 0.81), run(2, 0.84), run(3, 0.79)]
    folders = publish(config(*runs), zoo)
    assert [folder.name for folder in folders] == ["quick", "quick_seed1", "quick_seed3"] == zoo_names(zoo)
    for folder, made in zip(folders, (runs[1], runs[0], runs[2]), strict=True):
        assert bundle_hash(load_bundle(folder)) == bundle_hash(load_bundle(Path(made) / "bundle"))
    best = load_bundle(zoo / "quick")
    assert best.provenance["train_again"] == "python -m scripts.train experiment=demo seed=2"
    assert "config" not in best.provenance and best.provenance["trained_on"]["engines"] == ["small_gpu"]  # type: ignore[index]
    assert (
        "# quick" in best.model_card
        and "experiment=demo seed=2" in best.model_card
        and "Sets knobs." in best.model_card
    )
    ((recipe, bundles),) = recipes(zoo).items()
    assert [bool(bundle.model_card) for bundle in bundles] == [True, False, False]
    assert recipe == "quick" and [bundle.provenance["seed"] for bundle in bundles] == [2, 1, 3]
    page = (zoo / PAGE).read_text()
    assert "| zoo/quick | 2, 1, 3 |" in page and "+0.0400, +0.0100, -0.0100" in page and page == zoo_page(zoo)


def test_a_recipe_is_replaced_as_a_whole_or_not_at_all(run: MakeRun, zoo: Path) -> None:
    publish(config(run(1, 0.8), run(2, 0.9)), zoo)
    with pytest.raises(ConfigError, match="replace=true"):
        publish(config(run(3, 0.9)), zoo)
    assert zoo_names(zoo) == ["quick", "quick_seed1"]
    publish(config(str(zoo.parent / "run3"), replace=True), zoo)
    assert zoo_names(zoo) == ["quick"] and load_bundle(zoo / "quick").provenance["seed"] == 3


def test_what_cannot_be_published_leaves_the_zoo_as_it_is(
    run: MakeRun, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, twin, unjudged = run(1, 0.8), run(2, 0.8, seed=1), run(3, 0.8, validation=None)
    for runs, error, told in (
        ((first, twin), ConfigError, "give each seed once"),
        ((unjudged,), BundleError, "never validated"),
        ((str(zoo / "nowhere"),), BundleError, "no policy bundle there"),
    ):
        with pytest.raises(error, match=told):
            publish(config(*runs), zoo)
    with pytest.raises(UnknownNameError, match="unknown experiment 'quick'"):
        publish(ZooConfig("quick", (first,)), zoo)
    monkeypatch.setattr("agents.zoo.publish.MOST_BYTES", 100)
    with pytest.raises(ConfigError, match="at most 100 fit"):
        publish(config(first), zoo)
    assert not list(zoo.iterdir())


@pytest.mark.parametrize(
    "given", [{"name": "Quick", "runs": ("r",)}, {"name": "a_seed2", "runs": ("r",)}, {"name": "a"}, {"runs": ("r",)}]
)
def test_names_and_runs_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ZooConfig(**given)  # type: ignore[arg-type]


def test_seeds_without_their_best_are_told(run: MakeRun, zoo: Path) -> None:
    publish(config(run(1, 0.8), run(2, 0.9)), zoo)
    (zoo / "quick").rename(zoo / "other")
    with pytest.raises(AndesError, match="no 'quick' beside it"):
        recipes(zoo)


def test_a_policy_is_taken_by_name_in_every_script(
    run: MakeRun, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(config(run(1, 0.8)), zoo)
    monkeypatch.setattr(entries.zoo_folder, "__defaults__", (zoo,))
    assert policy_folder("zoo/quick") == zoo / "quick"
    given = compose("compare", "policy=zoo/quick", "run_dir=runs/nowhere")
    assert contenders_of(from_mapping(CompareConfig, given))[-1].name == "quick"
    served = serve_command(from_mapping(ServeConfig, compose("serve", "model=m", "policy=zoo/quick")))
    assert str(zoo / "quick") in " ".join(served)
    with pytest.raises(UnknownNameError, match=r"'quik'. Did you mean 'quick'\? Known: quick"):
        policy_folder("zoo/quik")
    mine = make_bundle().save(tmp_path / "here" / "zoo" / "quick")
    monkeypatch.chdir(tmp_path / "here")
    assert policy_folder("zoo/quick").resolve() == mine  # a path that exists is what it says


def test_the_zoo_that_is_shipped_has_its_page_and_cards() -> None:
    assert (FOLDER / PAGE).read_text(encoding="utf-8") == zoo_page()
    for bundles in recipes().values():
        assert str(bundles[0].provenance["train_again"]) in bundles[0].model_card
        for bundle in bundles:
            assert str(bundle.provenance["train_again"]).endswith(f" seed={bundle.provenance['seed']}")
