"""Search for the best fixed setting: `python -m scripts.tune search=tuned_andes|best_static`. Settings: `conf/tune.yaml`."""

from __future__ import annotations

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, resumable, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="tune")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Search, print the best trials and how the best does on validation workloads, and where things are."""
    from agents.schema import from_mapping
    from agents.tune import TuneConfig, tune

    config = from_mapping(TuneConfig, settings_of(cfg))
    with resumable("trials", config.run_dir):
        tuned = tune(config, _command(), progress=True)
    places = {"scheduler": tuned.written} if tuned.written else {}
    results, figures = tuned.run_dir / "results.json", tuned.run_dir / "figures"
    print_result(tuned.grids, [tuned.sentence], results=results, figures=figures, **places)


def _command() -> str:
    """The command line without the places of this machine."""
    overrides = [
        part
        for part in HydraConfig.get().overrides.task
        if not part.startswith(("run_dir=", "conf_dir=", "record_dir="))
    ]
    return " ".join(["python -m scripts.tune", *overrides])


if __name__ == "__main__":
    launch(main)
