# One image for every process: `python -m api` (the default), `python worker.py`, `python -m webhooks.store.migrate`.
# It holds no Temporal server: TEMPORAL_ADDRESS has to name one.

FROM python:3.11.14-slim-bookworm AS dependencies
COPY requirements.txt .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement requirements.txt \
 && /opt/venv/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin webhooks
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY webhooks webhooks
COPY activities activities
COPY workflows workflows
COPY api api
COPY worker.py ./
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WEBHOOKS_HOST=0.0.0.0
RUN python -m compileall -q . /opt/venv
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "api"]
