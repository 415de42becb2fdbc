#!/usr/bin/env bash
# Writes the locks of the images: every package and its checksums, at the versions of constraints.txt.
# Arguments tell uv where the CPU build of torch is; without them, PyTorch's own index.
set -euo pipefail
cd "$(dirname "$0")/requirements"
torch=("$@")
[ ${#torch[@]} -gt 0 ] || torch=(--torch-backend cpu)

lock() {
  local out=$1
  shift
  uv pip compile --quiet --no-config --generate-hashes --no-annotate --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --constraint ../../constraints.txt \
    --custom-compile-command "make lock" --output-file "$out" "$@"
}

# MLflow asks for scikit-learn for models of scikit-learn, which nothing here logs: 150 MB.
without=()
for package in scikit-learn scipy skops joblib threadpoolctl; do
  without+=(--no-emit-package "$package")
done

lock build.txt build.in
lock trainer-cpu.txt ../../pyproject.toml trainer.in --extra efficientnet "${without[@]}" "${torch[@]}"
lock trainer-cuda.txt ../../pyproject.toml trainer.in --extra efficientnet "${without[@]}"
lock server.txt ../../pyproject.toml trainer.in server.in --extra efficientnet "${without[@]}" "${torch[@]}"
