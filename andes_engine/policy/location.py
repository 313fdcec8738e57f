"""Where a server's policy is: the folder of a bundle, or a small text file that names one and may be rewritten at any time.

A file that says `none` means no policy: the configured knobs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from andes_engine.errors import BundleError

NO_POLICY = "none"
_MOST_POINTER_BYTES = 4096
FILES = ("bundle.json", "weights.safetensors")


def bundle_folder(path: Path) -> Path | None:
    """The folder that `path` is or names, a relative name counted from the file's folder; None for no policy.

    Raises:
        BundleError: If the file cannot be read or names nothing.
    """
    if not path.is_file():
        return path
    try:
        text = path.read_bytes()[:_MOST_POINTER_BYTES].decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot read which policy to use ({error})") from None
    if not text or "\n" in text:
        raise BundleError(f"{path}: must hold one line, the folder of a policy bundle or '{NO_POLICY}'")
    return None if text == NO_POLICY else path.parent / text


def state_of(path: Path) -> tuple[object, ...]:
    """Something that changes whenever the policy at `path` does; cheap enough to ask every second."""
    try:
        folder = bundle_folder(path)
    except BundleError as error:
        return (str(error),)
    if folder is None:
        return (NO_POLICY,)
    return (str(folder), *(_stamp(folder / name) for name in FILES))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def bundle_version(folder: Path) -> str:
    """Twelve hexadecimal digits that tell one bundle's content from another's."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]
