# The servers of the platform, one in each container: Prefect, MLflow, the object store, the coordinator, and the worker
# that submits flow runs to Kubernetes. `infra/container.py` starts them.
#
#   docker build -f docker/server.Dockerfile -t tinystyle-server .
#
# It runs as user 10001 on a read-only root; /tmp is to be mounted, and /data for the object store.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Where uv finds the CPU build of torch, whose checksum is in the lock.
ARG CPU_TORCH="--torch-backend=cpu"
COPY docker/requirements /requirements
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet --no-cache-dir --require-hashes -r /requirements/build.txt \
    && /build/bin/uv venv --quiet --no-config --python "$(command -v python3)" /opt/venv
COPY docker/install.sh /requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /requirements/install.sh server "${CPU_TORCH}"
COPY pyproject.toml README.md LICENSE NOTICE /source/
COPY tinystyle /source/tinystyle
# The import at the end leaves the bytecode of what the servers import, and of nothing else.
RUN /build/bin/uv build --quiet --no-config --no-build-isolation --python /build/bin/python --wheel --out-dir /wheel /source \
    && /build/bin/uv pip install --quiet --no-config --no-cache --python /opt/venv --no-deps /wheel/*.whl \
    && /opt/venv/bin/python -W ignore -c "import coremltools, matplotlib.pyplot, mlflow.pyfunc, mlflow.server.auth, \
prefect.cli, prefect.engine, prefect.server.api.server, prefect.workers.process, prefect_kubernetes, s3fs, tinystyle.api"

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tinystyle-server" \
      org.opencontainers.image.description="Serves Prefect, MLflow and S3 of the tinystyle platform, and coordinates its flows" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-4.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 tinystyle \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin tinystyle \
    && install --directory --owner 10001 --group 10001 /data /cache
COPY --from=build /opt/venv /opt/venv
COPY flows /app/flows
COPY infra /app/infra
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp PREFECT_HOME=/tmp/prefect MPLCONFIGDIR=/tmp/matplotlib \
    TINYSTYLE_CACHE=/cache TINYSTYLE_CHECKOUT=/app DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /app
# Asks the server of this container; a single command has none, and is healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "infra.container", "health"]
ENTRYPOINT ["python", "-m", "infra.container"]
CMD ["--help"]
