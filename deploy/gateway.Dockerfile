# Gateway and monitoring: Hone without an engine. Build from the repository's root:
#   docker build -f deploy/gateway.Dockerfile -t hone-gateway:0.1.0 .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.8
ENV VIRTUAL_ENV=/opt/hone UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
WORKDIR /src
COPY deploy/lock/ deploy/lock/
RUN uv venv "$VIRTUAL_ENV" && uv pip sync deploy/lock/gateway.txt
COPY pyproject.toml README.md LICENSE ./
COPY core/ core/
COPY serving/ serving/
COPY agent/ agent/
COPY monitoring/ monitoring/
COPY training/ training/
RUN uv build --wheel --build-constraints deploy/lock/cpu.txt --out-dir /dist \
    && uv pip install --no-deps /dist/hone-*.whl

FROM ${PYTHON}
# The data folder belongs to the image's user, so that a fresh volume does too.
RUN useradd --uid 10001 --create-home hone && install -d -m 0700 -o hone -g hone /data
COPY --from=build /opt/hone /opt/hone
ENV PATH=/opt/hone/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HONE_DATA=/data
USER 10001:10001
WORKDIR /home/hone
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "from urllib.request import urlopen; from core.config import load; urlopen(f'http://127.0.0.1:{load().gateway.port}/healthz', timeout=4)"]
CMD ["python", "-m", "agent"]
