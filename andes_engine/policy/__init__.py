"""The policy bundle, the only thing that crosses from training to serving, and its NumPy runtime."""
