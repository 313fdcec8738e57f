"""What a request says of its reader: when the first token is expected, and at which pace the text is read.

Flat keys of a request, `vllm_xargs` in vLLM's HTTP interface:

| key | value |
|---|---|
| `qoe_ttft` | expected time to first token, s |
| `qoe_tds` | expected token delivery speed, tokens/s |
| `qoe_class` | a class of users that the server's configuration names; the two keys above win over it |
| `qoe_user` | who asks, for fairness between users |
| `qoe_id` | the caller's name of the request, for experiments |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from andes_engine.errors import AndesError, ExpectationError, UnknownNameError
from andes_engine.workload.readers import PROMPT_TTFT

KEYS = ("qoe_ttft", "qoe_tds", "qoe_class", "qoe_user", "qoe_id")
PREFIX = "qoe_"
CLASS_KEYS = ("ttft_s", "tds")
SETTINGS = ("qoe_ttft", "qoe_tds", "ttft_per_prompt", "classes")
"""Keys of the configuration section `andes` that are about readers."""

_MOST = 1e6
_LEAST_TDS = 1e-6
_SHOWN_CHARACTERS = 80


class Expectation(NamedTuple):
    """What a reader expects: first token (s after arrival) and pace (s per token)."""

    ttft_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Expectations:
    """What readers expect where a server is concerned: defaults, classes, and what a request asks for.

    Args:
        qoe_ttft: Expected time to first token of a request that names none, s.
        qoe_tds: Reader's pace of a request that names none, tokens/s.
        ttft_per_prompt: Whether long prompts excuse a later first token: one second for each 5000 tokens, at least
            `qoe_ttft` (Andes v2: ``max(1, prompt / 5000)``). Only where neither request nor class names a time.
        classes: Classes of users by name, each with `ttft_s` (s), `tds` (tokens/s) or both.

    Raises:
        AndesError: If a default or a class is out of range or has an unknown key.
    """

    qoe_ttft: float = 1.0
    qoe_tds: float = 4.5
    ttft_per_prompt: bool = False
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (is_number(self.qoe_ttft, 0.0) and is_number(self.qoe_tds, _LEAST_TDS)):
            raise AndesError(
                f"need qoe_ttft >= 0 s and qoe_tds > 0 tokens/s, got {self.qoe_ttft!r} and {self.qoe_tds!r}"
            )
        if not isinstance(self.ttft_per_prompt, bool):
            raise AndesError(f"ttft_per_prompt = {self.ttft_per_prompt!r} must be true or false")
        if not isinstance(self.classes, Mapping):
            raise AndesError(f"classes = {self.classes!r} must map names to {{'ttft_s': s, 'tds': tokens/s}}")
        for name, given in self.classes.items():
            _check_class(name, given)

    @classmethod
    def from_section(cls, section: Mapping[str, object]) -> Expectations:
        """From the configuration section `andes`; keys about anything else are passed over."""
        return cls(**{key: section[key] for key in SETTINGS if key in section})  # type: ignore[arg-type]

    def of(self, asked: Mapping[str, object], prompt_tokens: int) -> Expectation:
        """The expectation of one request.

        Args:
            asked: The request's keys.
            prompt_tokens: Length of its prompt, tokens.

        Raises:
            ExpectationError: If a value is nonsense; the message says which, and what is allowed.
        """
        chosen = self._class(asked["qoe_class"]) if "qoe_class" in asked else {}
        ttft_s = asked.get("qoe_ttft", chosen.get("ttft_s"))
        if ttft_s is None and "qoe_ttft" not in asked:
            ttft_s = self._default_ttft_s(prompt_tokens)
        tds = asked.get("qoe_tds", chosen.get("tds", self.qoe_tds))
        if not is_number(ttft_s, 0.0):
            raise _refused("qoe_ttft", ttft_s)
        if not is_number(tds, _LEAST_TDS):
            raise _refused("qoe_tds", tds)
        return Expectation(float(ttft_s), 1.0 / float(tds))  # type: ignore[arg-type]

    def check(self, asked: Mapping[str, object]) -> None:
        """Refuse what no client means: unknown `qoe_` keys, a first token expected after 0 s, and what `of` refuses.

        Raises:
            ExpectationError: Naming the key, what was given and what is allowed.
        """
        for key, value in asked.items():
            if key.startswith(PREFIX) and key not in KEYS:
                raise ExpectationError(key, shown(value), str(UnknownNameError("key", key, KEYS)))
        for key in ("qoe_user", "qoe_id"):
            if not isinstance(asked.get(key, ""), str | int | float):
                raise ExpectationError(key, shown(asked[key]), "must be text or a number")
        self.of(asked, 0)
        if asked.get("qoe_ttft", 1) == 0:
            raise _refused("qoe_ttft", asked["qoe_ttft"])

    def _default_ttft_s(self, prompt_tokens: int) -> float:
        if not self.ttft_per_prompt:
            return self.qoe_ttft
        return max(self.qoe_ttft, prompt_tokens / PROMPT_TTFT.prompt_tokens_per_s)

    def _class(self, name: object) -> Mapping[str, float]:
        if isinstance(name, str) and name in self.classes:
            return self.classes[name]
        known = ", ".join(sorted(self.classes)) or "none, this server's configuration names no classes"
        raise ExpectationError("qoe_class", shown(name), f"must be one of the server's classes: {known}")


def is_number(value: object, low: float) -> bool:
    """Whether a value from outside is a finite number, not a truth value, from `low` to a million."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= _MOST


_ALLOWED = {
    "qoe_ttft": f"must be a number of seconds > 0, at most {_MOST:g}: the expected time to first token",
    "qoe_tds": f"must be a number of tokens/s > 0, from {_LEAST_TDS:g} to {_MOST:g}: the reader's pace",
}


def _refused(key: str, value: object) -> ExpectationError:
    return ExpectationError(key, shown(value), _ALLOWED[key])


def shown(value: object) -> str:
    """A value from outside as an error shows it, cut where it is long; a whole number may be too long to print at all."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python prints
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _check_class(name: object, given: object) -> None:
    if not isinstance(given, Mapping) or not given:
        raise AndesError(f"classes.{name} = {shown(given)} must have 'ttft_s' (s), 'tds' (tokens/s) or both")
    for key in given:
        if key not in CLASS_KEYS:
            raise UnknownNameError(f"key of classes.{name}", str(key), CLASS_KEYS)
    if not is_number(given.get("ttft_s", 1.0), 1e-6):
        raise AndesError(f"classes.{name}.ttft_s = {shown(given['ttft_s'])} {_ALLOWED['qoe_ttft']}")
    if not is_number(given.get("tds", 1.0), _LEAST_TDS):
        raise AndesError(f"classes.{name}.tds = {shown(given['tds'])} {_ALLOWED['qoe_tds']}")
