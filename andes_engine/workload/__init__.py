"""Who asks for what and when: arrivals, lengths, readers, traces; a `Workload` is frozen arrays with a fingerprint."""

from andes_engine.workload.workload import Workload

__all__ = ["Workload"]
