"""A fast simulator of a vLLM V1 engine: one compiled loop, many engines side by side."""
