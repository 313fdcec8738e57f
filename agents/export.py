"""From a trained model to the bundle that servers read, and from a run directory to its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agents.actor import actor_of
from agents.checkpoint import CHECKPOINTS, checkpoint_folder
from agents.run_dir import RunDir
from agents.zoo.entries import zoo_folder, zoo_name
from andes_engine.errors import BundleError, UnknownNameError
from andes_engine.policy.bundle import Bundle, load_bundle

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

    from envs.config import EnvConfig


def policy_folder(given: Path | str) -> Path:
    """The bundle's folder, also where the training run's directory is given, or `zoo/NAME` for one that comes with the package.

    A path that exists is what it says, so a folder `zoo/NAME` of the user's comes before the package's.

    Raises:
        UnknownNameError: If the zoo has no such policy; the message lists what it has.
    """
    name = zoo_name(given)
    if name is not None and not Path(given).exists():
        return zoo_folder(name)
    inside = Path(given) / "bundle"
    return inside if inside.is_dir() else Path(given)


def bundle_of(
    policy: BasePolicy,
    name: str,
    env: EnvConfig,
    provenance: Mapping[str, object] | None = None,
    model_card: str = "",
) -> Bundle:
    """A bundle that acts exactly as `policy.predict(deterministic=True)`, in the environment it was trained in.

    Raises:
        BundleError: If the policy is none that a bundle can hold.
    """
    layers, output, lstm = actor_of(policy)
    return Bundle(
        name,
        layers,
        env.action,
        env.decision_interval_s,
        dict(provenance or {}),
        model_card,
        output,
        lstm,
        env.scheduler,
        env.lengths,
        env.keep_kv,
    )


def export_checkpoint(run: Path | str, checkpoint: str, out: Path | str | None, name: str | None = None) -> Path:
    """Write the bundle of a training run's `best` or `last` checkpoint.

    Args:
        run: Run directory.
        checkpoint: Which one.
        out: New folder; by default `bundle-CHECKPOINT` inside the run directory.
        name: What reports call the policy; by default as in training.
    """
    if checkpoint not in CHECKPOINTS:
        raise UnknownNameError("checkpoint", checkpoint, CHECKPOINTS)
    folder = checkpoint_folder(RunDir.open(Path(run)), checkpoint)
    if not (folder / "bundle").is_dir():
        raise BundleError(f"{folder}: no checkpoint there; train longer, or give the other of {', '.join(CHECKPOINTS)}")
    bundle = load_bundle(folder / "bundle")
    return replace(bundle, name=name or bundle.name).save(Path(out) if out else Path(run) / f"bundle-{checkpoint}")
