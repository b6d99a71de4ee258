# The tag is pinned; append @sha256:... to pin the content too.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.txt ./
# pip installs the locked packages by hash and nothing else: --no-deps keeps torch out.
RUN python -m venv /opt/router && \
    /opt/router/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml setup.py README.md ./
COPY bandit ./bandit
COPY embeddings ./embeddings
COPY migrations ./migrations
COPY optimizer ./optimizer
COPY service ./service
RUN /opt/router/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin router && \
    install --directory --owner router --group router /data
COPY --from=build /opt/router /opt/router
WORKDIR /app
COPY config.prod.yaml config.cost-optimized.yaml ./
# HOST and ALLOW_ANONYMOUS are not set: the operator decides who can reach the service.
ENV PATH=/opt/router/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data
USER 10001
# The first start builds the encoder here, in a few seconds.
VOLUME /data
EXPOSE 8080
# http.client ignores proxies; urllib would use a configured one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8080), timeout=2); c.request('GET', '/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["router", "serve"]
