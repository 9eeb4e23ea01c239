# One image for every process of Manna Sync; docker-compose.yml names the command of each.
# Pin the base by digest where you build: docker build --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY locks/build.txt locks/image.txt /build/
# Only what the locks know by hash gets in. All of it wheels but plaid-python, which is published as source alone:
# setuptools, locked too, builds it, and stays behind with pip.
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /build/build.txt \
    && /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-binary plaid-python --no-build-isolation \
       -r /build/image.txt \
    && /opt/venv/bin/pip uninstall --yes setuptools pip
# What pip would write for the entry point in pyproject.toml; the packages themselves lie in /app.
RUN printf '#!/opt/venv/bin/python\nfrom cli.main import main\n\nmain()\n' > /opt/venv/bin/manna \
    && chmod 755 /opt/venv/bin/manna

FROM ${PYTHON_IMAGE}
# Two malloc arenas instead of one a thread: a third less memory under load.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin manna
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY alembic.ini pyproject.toml ./
# What validate_security compares the installed packages with.
COPY locks/runtime.txt ./locks/
COPY cli ./cli
COPY core ./core
COPY deploy ./deploy
COPY migrations ./migrations
COPY scripts ./scripts
COPY simulator ./simulator
COPY tasks ./tasks
COPY web ./web
COPY worker ./worker
RUN python -m compileall -q /app
# Nothing below /app or /opt is the user's own: a process that is broken into changes no code.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["manna", "web", "--host", "0.0.0.0", "--port", "8000"]
