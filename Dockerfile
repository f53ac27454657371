# Two targets: `cpu` (the default, last one) and `gpu`.
#
#   docker build -t onnxprune .
#   docker build -t onnxprune:gpu --target gpu .
#
# BASE is any image with Python 3.11, venv and pip. requirements.lock is for x86_64: elsewhere,
# `--platform linux/amd64`. TORCH_INDEX is an index that has a build of torch for the CPU, which
# needs none of NVIDIA's packages; without it pip takes the build it finds, and what that needs.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS start
WORKDIR /src
RUN python3 -m venv /opt/onnxprune
COPY requirements.lock constraints.txt ./

FROM start AS build
ARG TORCH_INDEX=""
RUN /opt/onnxprune/bin/pip install --no-cache-dir --only-binary=:all: \
        ${TORCH_INDEX:+--no-deps --extra-index-url "$TORCH_INDEX"} -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY onnxprune ./onnxprune
# The constraints are for the build of the wheel, too. A torch that needs more than is locked fails the check.
RUN PIP_CONSTRAINT=/src/constraints.txt /opt/onnxprune/bin/pip install --no-cache-dir --no-deps . \
    && /opt/onnxprune/bin/pip check

# What a torch for GPUs needs is not in the lock: pip finds it, and the rest as it is locked.
FROM start AS build-gpu
COPY pyproject.toml README.md LICENSE ./
COPY onnxprune ./onnxprune
RUN PIP_CONSTRAINT=/src/constraints.txt /opt/onnxprune/bin/pip install --no-cache-dir \
        ".[images,plots]" "onnxruntime-gpu[cuda,cudnn]" \
    && /opt/onnxprune/bin/pip check

FROM ${BASE} AS runtime
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    PATH=/opt/onnxprune/bin:$PATH
WORKDIR /data
LABEL org.opencontainers.image.title="onnxprune" \
      org.opencontainers.image.description="Prune trained ONNX and TorchScript models from the command line" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.vendor="The onnxprune developers" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS gpu
COPY --from=build-gpu /opt/onnxprune /opt/onnxprune
USER 10001:10001
ENTRYPOINT ["onnxprune"]
CMD ["--help"]

FROM runtime AS cpu
COPY --from=build /opt/onnxprune /opt/onnxprune
USER 10001:10001
ENTRYPOINT ["onnxprune"]
CMD ["--help"]
