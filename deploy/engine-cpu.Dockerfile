# Engine for machines without a GPU: vLLM's CPU build, kept and filled by `python -m serving`. Build from the root:
#   docker build -f deploy/engine-cpu.Dockerfile -t hone-engine-cpu:0.1.0 .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.8
# The torch backend tells uv where CPU builds of torch are.
ENV VIRTUAL_ENV=/opt/hone UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_TORCH_BACKEND=cpu
WORKDIR /src
COPY deploy/lock/ deploy/lock/
RUN uv venv "$VIRTUAL_ENV" && uv pip sync deploy/lock/cpu.txt
COPY pyproject.toml README.md LICENSE ./
COPY core/ core/
COPY serving/ serving/
COPY agent/ agent/
COPY monitoring/ monitoring/
COPY training/ training/
RUN uv build --wheel --build-constraints deploy/lock/cpu.txt --out-dir /dist \
    && uv pip install --no-deps /dist/hone-*.whl

FROM ${PYTHON}
# vLLM loads libnuma.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home hone \
    && install -d -m 0700 -o hone -g hone /data /home/hone/.cache
COPY --from=build /opt/hone /opt/hone
# vLLM's own sockets stay on loopback. torch does not compile: here it would need a C++ compiler and half a minute at
# the first call that asks for log-probabilities, and gain nothing.
ENV PATH=/opt/hone/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HONE_DATA=/data \
    VLLM_HOST_IP=127.0.0.1 TORCH_COMPILE_DISABLE=1
USER 10001:10001
WORKDIR /home/hone
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=10s --start-period=15m --retries=6 CMD ["python", "-c", \
    "from urllib.request import urlopen; from core.config import load; urlopen(f'{load().engine_url}/health', timeout=8)"]
CMD ["python", "-m", "serving"]
