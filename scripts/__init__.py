"""Command-line entry points: `python -m scripts.NAME`. Each reads `conf/NAME.yaml` and makes one library call."""
