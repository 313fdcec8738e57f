"""From a trained model to the bundle that servers read, and from a run directory to its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from agents.run_dir import RunDir
from andes_engine.action import ActionSpec
from andes_engine.errors import BundleError, UnknownNameError
from andes_engine.policy.bundle import Bundle

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

CHECKPOINTS = ("best", "last")
Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


def policy_folder(given: Path | str) -> Path:
    """The bundle's folder, also where the training run's directory is given."""
    inside = Path(given) / "bundle"
    return inside if inside.is_dir() else Path(given)


def bundle_of(
    policy: BasePolicy,
    name: str,
    action: ActionSpec,
    decision_interval_s: float,
    provenance: Mapping[str, object] | None = None,
    model_card: str = "",
) -> Bundle:
    """A bundle that acts exactly as `policy.predict(deterministic=True)`.

    Raises:
        BundleError: If the policy is not a tanh MLP with a Gaussian head.
    """
    layers = actor_layers(cast("ActorCriticPolicy", policy))
    return Bundle(name, layers, action, decision_interval_s, dict(provenance or {}), model_card)


def actor_layers(policy: ActorCriticPolicy) -> tuple[Layer, ...]:
    """Weight and bias of each layer from observation to action mean, copied."""
    import torch

    hidden = list(policy.mlp_extractor.policy_net)
    linear, between = hidden[0::2], hidden[1::2]
    plain = not (policy.squash_output or list(policy.features_extractor.parameters()))
    tanh = all(isinstance(entry, torch.nn.Tanh) for entry in between) and len(linear) == len(between)
    if not (plain and tanh and isinstance(policy.action_net, torch.nn.Linear)):
        raise BundleError(f"cannot export {type(policy).__name__}: a bundle holds a tanh MLP with a linear last layer")
    return tuple((_array(entry.weight), _array(entry.bias)) for entry in (*linear, policy.action_net))


def put_actor(policy: BasePolicy, layers: Sequence[Layer]) -> None:
    """The reverse of `actor_layers`: give a policy of the same shape the weights of a bundle."""
    import torch

    actor: Any = policy
    modules = [*list(actor.mlp_extractor.policy_net)[0::2], actor.action_net]
    if [tuple(module.weight.shape) for module in modules] != [weight.shape for weight, _ in layers]:
        raise BundleError(f"the policy's layers are not those of the bundle: {[weight.shape for weight, _ in layers]}")
    with torch.no_grad():
        for module, (weight, bias) in zip(modules, layers, strict=True):
            module.weight.copy_(torch.from_numpy(weight))
            module.bias.copy_(torch.from_numpy(bias))


def _array(tensor: Any) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32).copy()


def export_checkpoint(run: Path | str, checkpoint: str, out: Path | str | None, name: str | None = None) -> Path:
    """Write the bundle of a training run's `best` or `last` checkpoint.

    Args:
        run: Run directory.
        checkpoint: Which one.
        out: New folder; by default `bundle-CHECKPOINT` inside the run directory.
        name: What reports call the policy; by default as in training.
    """
    from stable_baselines3.common.policies import ActorCriticPolicy

    if checkpoint not in CHECKPOINTS:
        raise UnknownNameError("checkpoint", checkpoint, CHECKPOINTS)
    folder = RunDir.open(Path(run)).path / "checkpoints" / checkpoint
    if not (folder / "policy.pt").is_file():
        raise BundleError(f"{folder}: no checkpoint there; train longer, or give the other of {', '.join(CHECKPOINTS)}")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    bundle = bundle_of(
        ActorCriticPolicy.load(str(folder / "policy.pt"), device="cpu"),
        name or state["name"],
        ActionSpec(tuple(state["action"]["names"]), state["action"]["reference"]),
        state["decision_interval_s"],
        state["provenance"],
        state["model_card"],
    )
    return bundle.save(Path(out) if out else Path(run) / f"bundle-{checkpoint}")
