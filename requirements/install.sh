#!/usr/bin/env bash
# Installs the packages of a lock, every file checked against its checksums, and then tinystyle from this checkout.
# install.sh PYTHON LOCK [OPTION_OF_PIP...], such as install.sh python3 library
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$1 lock=$2
shift 2
# The locks say all that these would, and pip refuses constraints without checksums in some versions.
unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT
export PIP_DISABLE_PIP_VERSION_CHECK=1

locked() {
  # --no-deps: a lock is complete, and the CPU build of torch needs less than the plain one.
  "$python" -m pip install --quiet --require-hashes --no-deps --only-binary :all: --requirement "$here/$1.txt"
}

# pip prefers the plain torch, whose checksum the index names, to a CPU build that it is offered: hence that one first.
if ! "$python" -c 'import sys; from importlib.metadata import version; sys.exit(version("torch").split("+")[0] != sys.argv[1])' \
  "$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$here/torch-cpu.txt")" 2>/dev/null; then
  locked torch-cpu 2>/dev/null || echo "pip is offered no CPU build of torch; it takes the plain one" >&2
fi
locked "$lock"
# The plain torch for Linux asks for CUDA's libraries.
if "$python" -c 'import sys; from importlib.metadata import requires; from packaging.requirements import Requirement
sys.exit(not any(each.name == "triton" and (not each.marker or each.marker.evaluate({"extra": ""}))
                 for each in map(Requirement, requires("torch"))))'; then
  locked cuda
fi
"$python" -m pip install --quiet --no-deps --no-build-isolation --no-index "$@" "$here/.."
"$python" -m pip check
