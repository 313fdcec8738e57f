"""At the client: streams shown at their reader's pace, and load on a live server measured where its tokens arrive."""

from andes_engine.client.async_pacer import AsyncPacer
from andes_engine.client.pacer import Pacer
from andes_engine.client.reading import Reader, Reading

__all__ = ["AsyncPacer", "Pacer", "Reader", "Reading"]
