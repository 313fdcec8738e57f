"""Which policy a run made or used: the link from training to evaluation, in a tracker and in a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.export import policy_folder
from agents.tracking import Tracker
from andes_engine.policy.bundle import load_bundle


def bundle_fingerprint(folder: Path) -> str:
    """Hash of a bundle's files, names included: equal for equal bundles, wherever they lie."""
    digest = sha256()
    for path in sorted(folder.iterdir()):
        digest.update(f"{path.name}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def log_trained(tracker: Tracker, folder: Path, name: str, provenance: Mapping[str, Any]) -> None:
    """Hand the tracker a bundle that this run has trained."""
    tracker.artifact(folder, _artifact(name), {**provenance, "bundle_fingerprint": bundle_fingerprint(folder)})


def lineage_of(policy: str) -> dict[str, Any]:
    """Which bundle this is, and which run trained it.

    Args:
        policy: Folder of the bundle, or of the training run that holds it.

    Raises:
        BundleError: If there is no bundle this version can serve.
    """
    folder = policy_folder(policy)
    bundle = load_bundle(folder)
    return {
        "bundle": bundle.name,
        "bundle_fingerprint": bundle_fingerprint(folder),
        "training_run": bundle.provenance.get("run"),
        "training_tracked_as": bundle.provenance.get("tracked_as"),
    }


def mark_used(tracker: Tracker, policy: str) -> None:
    """Tell the tracker that this run evaluates a bundle; arguments and errors as in `lineage_of`."""
    lineage = lineage_of(policy)
    tracker.used(policy_folder(policy), _artifact(lineage["bundle"]), lineage)


def _artifact(name: str) -> str:
    return f"{name}-bundle"
