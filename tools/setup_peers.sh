#!/usr/bin/env bash
# Build .venv-peers: the simulators that `make bench-peers` measures beside ours. Never into .venv: their pins are not ours.
#   PYTHON  the interpreter to build from (default python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
package=ai-dynamo-runtime==1.6.1 # NVIDIA Dynamo's mocker; the configuration in benchmarks/peer_setting.py is this version's
venv=.venv-peers
log=$venv/setup.log

die() { # message hint: stop, showing the end of the log
  [ ! -s "$log" ] || { printf -- '\n--- the end of %s ---\n' "$log"; tail -n 10 "$log"; } >&2
  printf '\nsetup: %s\n%s\n' "$1" "$2" >&2
  exit 1
}

mkdir -p "$venv"
: >"$log"
echo "Setting up $venv ($package); details go to $log"
"$venv/bin/python" -m pip --version >>"$log" 2>&1 || "$python" -m venv "$venv" >>"$log" 2>&1 ||
  die "could not make $venv with '$python'" "On Debian and Ubuntu: apt install python3-venv. Or name another one: make PYTHON=..."
"$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "$package" >>"$log" 2>&1 ||
  die "$package could not be installed" "It is built for Linux with glibc 2.28 or newer and Python 3.10 or newer; this is $(uname -sm). Nothing else in the project needs it."
"$venv/bin/python" -c "from dynamo._core import run_mocker_trace_replay" >>"$log" 2>&1 ||
  die "$package does not import" "Start afresh: rm -rf $venv"
echo "Ready after $SECONDS s."
