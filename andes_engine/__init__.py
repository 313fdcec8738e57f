"""andes_engine: QoE-aware scheduling of streamed LLM text, in a simulator and in vLLM, from one scheduling core.

The only package a serving process imports: no gymnasium, no stable-baselines3, no torch of its own, no pickle.
"""

__version__ = "0.1.0"
