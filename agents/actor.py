"""The part of a trained policy that a bundle holds: what leads from an observation to the deterministic action."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import BundleError
from andes_engine.policy.bundle import Bundle
from andes_engine.policy.lstm import Lstm

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


class Actor(NamedTuple):
    """Network of a policy, as `Bundle` names its parts."""

    layers: tuple[Layer, ...]
    output: str = "clip"
    lstm: Lstm | None = None


def actor_of(policy: BasePolicy) -> Actor:
    """Weights from observation to action, copied.

    Raises:
        BundleError: If the network is not a tanh MLP, behind at most one LSTM layer.
    """
    modules, output, lstm = _parts(policy)
    linear, between = modules[0::2], modules[1::2]
    if not (_all(linear, "Linear") and _all(between, "Tanh") and len(linear) == len(between) + 1):
        raise _not_exportable(policy)
    return Actor(tuple((_array(layer.weight), _array(layer.bias)) for layer in linear), output, lstm)


def put_actor(policy: BasePolicy, bundle: Bundle) -> None:
    """The reverse of `actor_of`: give a policy of the same shape the weights of a bundle.

    Raises:
        BundleError: If the shape is another.
    """
    import torch

    modules, output, lstm = _parts(policy)
    linear = modules[0::2]
    if lstm is not None or bundle.lstm is not None or output != bundle.output:
        raise BundleError(
            f"'{bundle.name}' ({bundle.output}, {'recurrent' if bundle.lstm else 'feed-forward'}) cannot be trained on in a "
            f"{type(policy).__name__}; only feed-forward policies of the same output can"
        )
    if [tuple(module.weight.shape) for module in linear] != [weight.shape for weight, _ in bundle.layers]:
        shapes = [weight.shape for weight, _ in bundle.layers]
        raise BundleError(f"the policy's layers are not those of the bundle: {shapes}")
    with torch.no_grad():
        for module, (weight, bias) in zip(linear, bundle.layers, strict=True):
            module.weight.copy_(torch.from_numpy(weight))
            module.bias.copy_(torch.from_numpy(bias))


def _parts(policy: BasePolicy) -> tuple[list[Any], str, Lstm | None]:
    """Modules from observation or LSTM to the last layer, how that ends, and the LSTM."""
    given: Any = policy
    if hasattr(given, "mlp_extractor"):  # PPO and RecurrentPPO
        plain = not given.squash_output and not given.use_sde and _flat(given.features_extractor)
        lstm = _lstm(given.lstm_actor) if hasattr(given, "lstm_actor") else None
        modules, output = [*given.mlp_extractor.policy_net, given.action_net], "clip"
    elif hasattr(given, "actor"):  # SAC and TQC
        plain = not given.actor.use_sde and _flat(given.actor.features_extractor)
        modules, output, lstm = [*given.actor.latent_pi, given.actor.mu], "tanh", None
    elif hasattr(given, "action_net"):  # ARS and CMA-ES
        plain = not given.squash_output and _flat(given.features_extractor)
        modules, output, lstm = list(given.action_net), "clip", None
    else:
        plain, modules, output, lstm = False, [], "clip", None
    if not plain:
        raise _not_exportable(policy)
    return modules, output, lstm


def _lstm(module: Any) -> Lstm:
    if module.num_layers != 1 or module.bidirectional or module.proj_size:
        raise BundleError("a bundle holds one LSTM layer in one direction without a projection")
    bias = module.bias_ih_l0 + module.bias_hh_l0
    return Lstm(_array(module.weight_ih_l0), _array(module.weight_hh_l0), _array(bias))


def _flat(extractor: Any) -> bool:
    """Whether features are the observation as it is."""
    return not list(extractor.parameters())


def _all(modules: Iterable[Any], kind: str) -> bool:
    import torch

    return all(isinstance(entry, getattr(torch.nn, kind)) for entry in modules)


def _not_exportable(policy: BasePolicy) -> BundleError:
    return BundleError(
        f"cannot export {type(policy).__name__}: a bundle holds a tanh MLP with a linear last layer, behind at most one LSTM"
    )


def _array(tensor: Any) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32).copy()
