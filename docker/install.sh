#!/usr/bin/env bash
# Installs a lock into /opt/venv, every file checked against its checksum, and then leaves out what no program reads.
# install.sh LOCK OPTIONS_OF_UV
set -euo pipefail
read -ra options <<<"$2"
/build/bin/uv pip install --quiet --no-config --link-mode copy --python /opt/venv \
  --require-hashes --no-deps --requirement "/requirements/$1.txt" "${options[@]}"

cd /opt/venv/lib/python3.11/site-packages
# Tests of packages; headers, test programs and network servers of torch and Arrow.
find . -depth -type d -name tests -not -path './numpy/*' -exec rm -rf {} +
rm -rf torch/include torch/test pyarrow/include pyarrow/*flight*
find torch/bin -type f -not -name torch_shm_manager -delete
case "$1" in
  trainer-*) rm -rf mlflow/server/js prefect/server/ui prefect/server/ui-v2 ;; # pages of servers
esac
