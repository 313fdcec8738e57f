"""Log lines of a serving process: plain text, or one JSON object each.

vLLM configures its own logger only, so without a handler of ours nothing below a warning would be seen.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("andes_engine.service")

PACKAGE = "andes_engine"


def configure_logging(kind: str) -> None:
    """Send the log of this package to standard error, as `text` or as `json` (then with every change of knobs)."""
    package, handler = logging.getLogger(PACKAGE), _OurHandler()
    if kind == "json":
        from pythonjsonlogger.json import JsonFormatter  # comes with vLLM

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(asctime)s [%(name)s] %(message)s", "%m-%d %H:%M:%S"))
    handler.setLevel(logging.DEBUG if kind == "json" else logging.INFO)
    package.handlers = [other for other in package.handlers if not isinstance(other, _OurHandler)]
    package.addHandler(handler)
    package.setLevel(handler.level)
    package.propagate = False


class _OurHandler(logging.StreamHandler):
    """Known again when logging is configured a second time."""


def tell(event: str, level: int = logging.INFO, **fields: object) -> None:
    """Log an event; in JSON its fields are entries of the object."""
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    logger.log(level, "andes: %s %s", event.replace("_", " "), text, extra={"event": event, **fields})
