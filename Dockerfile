# Two targets: `cpu` (the default, last one) and `gpu`.
#
#   docker build -t onnxprune .
#   docker build -t onnxprune:gpu --target gpu .
#
# BASE is any image with Python 3.11 or newer and pip. TORCH_INDEX, if given, is an index of
# packages that has a CPU build of torch; without it pip takes the build it finds first.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/onnxprune
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY onnxprune ./onnxprune
ARG TORCH_INDEX=""
RUN /opt/onnxprune/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt ".[images,plots]"

FROM build AS build-gpu
RUN /opt/onnxprune/bin/pip install --no-cache-dir -c constraints.txt "onnxruntime-gpu[cuda,cudnn]"

FROM ${BASE} AS runtime
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    PATH=/opt/onnxprune/bin:$PATH
WORKDIR /data
LABEL org.opencontainers.image.title="onnxprune" \
      org.opencontainers.image.description="Prune trained ONNX models from the command line" \
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
