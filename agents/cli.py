"""What the scripts share: settings out of Hydra, and errors as one clear line."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from agents.interrupts import stoppable
from agents.schema import SettingError
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.knobs import KNOB_NAMES

if TYPE_CHECKING:
    from andes_engine.report.grid import Grid

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

WIDTH_OF_A_FILE = 140
"""Columns of a table that goes to a file or a pipe."""


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """The composed configuration as plain data, with the directory that Hydra chose for this job as `run_dir`.

    Raises:
        AndesError: If a value that has no default was not given.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise AndesError(f"no value for {', '.join(missing)}; give " + " ".join(f"{key}=..." for key in missing))
    settings = OmegaConf.to_container(cfg, resolve=True)
    if "run_dir" in settings:  # type: ignore[operator]
        settings["run_dir"] = HydraConfig.get().runtime.output_dir  # type: ignore[index, call-overload]
    return settings  # type: ignore[return-value]


def print_result(grids: Iterable[Grid], sentences: Sequence[str] = (), **places: object) -> None:
    """What a script ends with: its tables, what they say, and where things are."""
    from rich.console import Console

    from andes_engine.report.grid import to_rich

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    for grid in grids:
        console.print(to_rich(grid))
    if sentences:
        console.print("\n".join(sentences))
    for name, place in places.items():
        console.print(f"{name}: {place}", soft_wrap=True)


def compose(name: str, *overrides: str) -> dict[str, Any]:
    """The settings of `conf/NAME.yaml` with overrides as on the command line, for notebooks and tests.

    `run_dir` is what the file says; nothing is written.
    """
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose(name, with_own_schedulers(overrides))
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def group_names(group: str) -> list[str]:
    """Names of the files of a group of `conf/` and of the user's `--config-dir`."""
    with _hydra() as loader:
        return loader.get_group_options(group)


def group_settings(group: str, name: str, **known: Any) -> dict[str, Any]:
    """The settings of one file of a group, with the files it builds on; inside a Hydra job too.

    Args:
        group: Folder of `conf/`.
        name: The file.
        known: Values of what it refers to by `${...}`.
    """
    with _hydra():
        cfg = hydra.compose(f"{group}/{name}")
    whole = OmegaConf.to_container(OmegaConf.merge(known, cfg), resolve=True)
    return whole[group]  # type: ignore[index, call-overload, return-value]


@contextmanager
def _hydra() -> Iterator[ConfigLoader]:
    """Hydra's search path: that of the job this runs in, or `conf/`."""
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance().config_loader()
        return
    with hydra.initialize_config_module("conf", version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def with_own_schedulers(overrides: Iterable[str]) -> list[str]:
    """Overrides in which a user's own scheduler may stand where a configuration file's name does.

    ``scheduler=my_module.my_score`` becomes `scheduler=own` and the settings of `conf/scheduler/own.yaml` that name the function;
    ``+scheduler@contenders.mine=my_module.my_score`` does the same for a contender called `mine`. Anything else stays as it is.
    """
    return [part for override in overrides for part in _own_scheduler(override) or (override,)]


def _own_scheduler(override: str) -> tuple[str, ...] | None:
    found = _OWN_SCHEDULER.fullmatch(override)
    if found is None:
        return None
    group, package, function = found["group"], found["package"] or "scheduler", found["function"]
    name = package.rpartition(".")[2] if found["package"] else function.rpartition(".")[2]
    return f"{group}=own", f"{package}.scheduler={function}", f"{package}.name={name}"


_OWN_SCHEDULER = re.compile(
    r"(?P<group>\+{0,2}scheduler(?:@(?P<package>[\w.]+))?)=['\"]?(?P<function>\w+(?:\.\w+)+)['\"]?"
)
"""A choice of scheduler that has a dot, as no file of `conf/scheduler` does."""


def clear_errors(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A task that ends with one line and exit code 2 where the input was wrong; stands below `hydra.main`."""

    @functools.wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except SettingError as error:
            _end(f"{error.where}{_file_of(error.where)}: {error.reason}")
        except (AndesError, MissingMandatoryValue) as error:
            _end(str(error))

    return guarded


@contextmanager
def resumable(kept: str, run_dir: str) -> Iterator[None]:
    """Around work that goes on where it was stopped: an interrupt is told in one line, with what is kept and how to go on."""
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        print(f"interrupted; finished {kept} are kept, start again with run_dir={run_dir} to go on", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None


def _end(message: str) -> None:
    """Refuse; in a sweep only this job, so that the others go on and `launch` tells at the end."""
    if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise AndesError(f"job {HydraConfig.get().job.num} ({HydraConfig.get().job.override_dirname}): {message}")
    refuse(message)


def _file_of(where: str) -> str:
    """Which configuration file a group of settings came from, in brackets; nothing where it came from no group's file."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    for group, choice in choices.items():
        folder, _, package = str(group).partition("@")
        if choice and (package or folder) == where:
            return f" ({folder}/{choice}.yaml and overrides of it)"
    return ""


def launch(main: Callable[[], Any]) -> None:
    """Run a Hydra entry point; what is wrong on the command line is told in one line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and we tell
    sys.argv[1:] = with_own_schedulers(sys.argv[1:])
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        refuse(_told(error))
    except AndesError as error:  # of a sweep's job
        refuse(str(error))
    except BrokenExecutor as error:
        cause = " ".join(str(error).split())
        refuse(f"a process of the sweep died: {cause}; what its jobs kept is in their directories, see train.resume")


def refuse(message: str) -> None:
    """Say what was wrong and exit with code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(EXIT_BAD_INPUT)


def _told(error: BaseException) -> str:
    """Hydra's message in our words: the nearest known name instead of the advice to add the unknown one."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return str(UnknownNameError(group or "configuration", name, error.options))
    cause: BaseException | None = error
    while cause is not None:
        parent, key = getattr(cause, "parent_node", None), getattr(cause, "key", None)
        if isinstance(parent, DictConfig) and key is not None:
            return _told_key(str(key), str(getattr(cause, "full_key", key)), [str(known) for known in parent])
        cause = cause.__cause__
    return " ".join(str(error).split())


def _told_key(key: str, full_key: str, known: list[str]) -> str:
    if full_key.split(".")[-2:-1] != ["knobs"]:
        return str(UnknownNameError("setting", key, known))
    if key in KNOB_NAMES:
        return f"{full_key} has no value to change yet; put + before it: +{full_key}=..."
    return str(UnknownNameError("knob", key, KNOB_NAMES))
