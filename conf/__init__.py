"""Configuration files, found by Hydra as `pkg://conf`. Their schema is `agents.config`; unknown keys are refused."""
