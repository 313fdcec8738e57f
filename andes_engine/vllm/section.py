"""Where vLLM carries our configuration: `--additional-config '{"andes": {...}}'`."""

from collections.abc import Mapping
from typing import Any


def andes_section(vllm_config: Any) -> Mapping[str, Any]:
    """Our section of vLLM's configuration; empty where there is none.

    Raises:
        ValueError: If it is not a mapping.
    """
    additional = getattr(vllm_config, "additional_config", None)
    section = additional.get("andes", {}) if isinstance(additional, Mapping) else {}
    if not isinstance(section, Mapping):
        raise ValueError(f'additional_config["andes"] must be a mapping, got {type(section).__name__}: {section!r}')
    return section
