# One image for every role; what follows the image's name says which: `services.lookup worker`, `deploy.topics`.
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock
COPY schemas schemas
COPY services services
COPY deploy deploy
# The root file system is read-only at run time, so nothing can be compiled then.
RUN /opt/venv/bin/python -m compileall -q /app /opt/venv/lib

FROM python:3.11-slim
RUN groupadd --gid 10001 scrub \
    && useradd --uid 10001 --gid scrub --home-dir /data --no-create-home --shell /usr/sbin/nologin scrub \
    && install --directory --owner=scrub --group=scrub /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SCRUB_DATA=/data
USER 10001:10001
ENTRYPOINT ["python", "-m"]
