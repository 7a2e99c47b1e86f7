# One image for a Ray head, its workers, the jobs that run on them, and MLflow.
#
#   docker build --tag xling:cpu .                                torch's small CPU build
#   docker build --tag xling:cuda --build-arg VARIANT=cuda .      PyPI's, which brings CUDA with it
#
# Both install the versions in constraints.txt. A pip.conf (a mirror, credentials) is taken as the build secret `pip`
# (--secret id=pip,src=pip.conf) and stays out of the image.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# What changes seldom: torch, then all other dependencies. No file of ours but the two that name them.
# hadolint ignore=DL3006
FROM ${BASE} AS dependencies
ARG VARIANT=cpu
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=s3,server
ENV PATH=/opt/xling/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY constraints.txt pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/xling \
    && case "$VARIANT" in \
        cpu) pip install --no-deps --index-url "$CPU_INDEX" --constraint constraints.txt torch ;; \
        cuda) ;; \
        *) echo "VARIANT is $VARIANT, must be cpu or cuda" >&2; exit 2 ;; \
    esac
# An empty package stands in for ours, whose metadata lists the dependencies.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    mkdir xling && echo '__version__ = "0"' > xling/__init__.py && touch README.md \
    && pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && pip uninstall --yes xling

# What changes with every commit.
FROM dependencies AS wheel
COPY README.md ./
COPY xling ./xling
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip wheel --no-deps --wheel-dir /build/wheels .

# hadolint ignore=DL3006
FROM ${BASE}
# Ray's cluster launcher reaches workers from within the head's container, by ssh and rsync. A login shell forgets PATH.
# hadolint ignore=DL3008,SC2016
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client rsync \
    && rm -rf /var/lib/apt/lists/* \
    && echo 'PATH=/opt/xling/bin:$PATH' > /etc/profile.d/xling.sh \
    && groupadd --gid 1000 xling && useradd --uid 1000 --gid xling --create-home xling \
    && install --directory --owner=xling --group=xling /data /cache
COPY --from=dependencies /opt/xling /opt/xling
COPY infra/health.py /opt/xling/share/
COPY sweeps /opt/xling/share/sweeps
# What was copied keeps the checkout's modes, which may be nobody's to read but its owner's.
RUN --mount=type=bind,from=wheel,source=/build/wheels,target=/wheels \
    chmod -R a+rX /opt/xling/share \
    && /opt/xling/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
ENV PATH=/opt/xling/bin:$PATH HOME=/home/xling RAY_AUTH_MODE=token PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true

ARG VARIANT=cpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="xling" \
    org.opencontainers.image.description="Sweeps of multilingual dual encoders on Ray, tracked in MLflow (${VARIANT})" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}-${VARIANT}" \
    org.opencontainers.image.revision="${REVISION}"

USER 1000:1000
WORKDIR /data
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "/opt/xling/share/health.py"]
# No entrypoint: `docker run xling:cpu ray start …`, and Ray's launcher starts containers with `bash`.
CMD ["xling", "--help"]
