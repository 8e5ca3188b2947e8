# A worker of the order processor; for an app of your own, change what is copied into /app.
# Where it was written there is no container engine: it was linted and its steps were taken by hand, but no image was ever built. Do that with
#   docker build -t order-processor . && docker run --rm order-processor agents

FROM python:3.13-slim AS build
RUN python -m venv /opt/streamapp
ENV PATH=/opt/streamapp/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock /build/
# Wheels only, each with the hash that was locked: nothing is compiled, and nothing else can come in.
RUN pip install --require-hashes --only-binary=:all: -r /build/requirements.lock
COPY pyproject.toml README.md LICENSE /build/
COPY streamapp /build/streamapp
RUN pip install --no-deps --no-build-isolation /build

FROM python:3.13-slim
# tini passes signals on to the worker, and reaps what its child processes leave. Its version is Debian's, which keeps it mended.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin streamapp \
    && install -d -o streamapp -g streamapp /data
COPY --from=build /opt/streamapp /opt/streamapp
# The project: its root is where the command finds [tool.streamapp], and the modules that it names.
WORKDIR /app
COPY pyproject.toml ./
COPY tables ./tables
COPY agents ./agents
# Nothing but /data and /tmp is written to, so the root may be read-only.
ENV PATH=/opt/streamapp/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp STREAMAPP_DATA_DIR=/data STREAMAPP_WEB_PORT=6066
# A number, as Kubernetes can tell only of a number that it is not root's.
USER 10001:10001
VOLUME /data
EXPOSE 6066
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; asked = http.client.HTTPConnection('127.0.0.1', int(os.environ['STREAMAPP_WEB_PORT']), timeout=4); asked.request('GET', '/livez'); sys.exit(asked.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/tini", "--", "faust", "-A", "streamapp"]
CMD ["worker", "-l", "info"]
