# The trainer: `tinystyle`, the flows, and the loss network that comes as a package. On CPUs, or with CUDA.
#
#   docker build -f docker/trainer.Dockerfile -t tinystyle-trainer:cpu .
#   docker build -f docker/trainer.Dockerfile -t tinystyle-trainer:cuda --build-arg VARIANT=cuda .
#
# It runs as user 10001 on a read-only root; /tmp, /work (results) and /cache (datasets) are to be mounted.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG VARIANT=cpu
# Where uv finds the CPU build of torch, whose checksum is in the lock. The CUDA build is the plain release.
ARG CPU_TORCH="--torch-backend=cpu"
COPY docker/requirements /requirements
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet --no-cache-dir --require-hashes -r /requirements/build.txt \
    && /build/bin/uv venv --quiet --no-config --python "$(command -v python3)" /opt/venv
COPY docker/install.sh /requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /requirements/install.sh "trainer-${VARIANT}" "$([ "${VARIANT}" = cuda ] || echo "${CPU_TORCH}")"
COPY pyproject.toml README.md LICENSE NOTICE /source/
COPY tinystyle /source/tinystyle
# The import at the end leaves the bytecode of what a training imports, and of nothing else: 6 s less for each process.
RUN /build/bin/uv build --quiet --no-config --no-build-isolation --python /build/bin/python --wheel --out-dir /wheel /source \
    && /build/bin/uv pip install --quiet --no-config --no-cache --python /opt/venv --no-deps /wheel/*.whl \
    && /opt/venv/bin/python -W ignore -c "import coremltools, lightning, matplotlib.pyplot, mlflow.pyfunc, prefect.cli, \
prefect.engine, prefect.workers.process, s3fs, tinystyle.api, torch.distributed.run"

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tinystyle-trainer" \
      org.opencontainers.image.description="Trains, exports and verifies style-transfer networks; runs the platform's flows" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-4.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 tinystyle \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin tinystyle \
    && install --directory --owner 10001 --group 10001 /work /cache
COPY --from=build /opt/venv /opt/venv
COPY flows /app/flows
COPY infra /app/infra
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp PREFECT_HOME=/tmp/prefect MPLCONFIGDIR=/tmp/matplotlib \
    TINYSTYLE_CACHE=/cache TINYSTYLE_CHECKOUT=/app DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /work
# Asks the server of this container, such as a Prefect worker; a single command has none, and is healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "infra.container", "health"]
ENTRYPOINT ["tinystyle"]
CMD ["--help"]
