# One image for every process: the hub by default, the others by their command.
#
#   docker build --tag realtime-hub .
#   docker run --publish 8080:8080 --env REALTIME_REDIS_URL=redis://... realtime-hub
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY realtime realtime
COPY workers workers
RUN python -m venv /opt/realtime \
    && /opt/realtime/bin/pip install --no-cache-dir --disable-pip-version-check '.[s3]'

FROM python:3.13-slim
# A volume at the data folder is made with the owner that the folder has here.
RUN useradd --system --create-home --home-dir /var/lib/realtime realtime \
    && install --directory --mode=0700 --owner=realtime --group=realtime /var/lib/realtime/data
COPY --from=build /opt/realtime /opt/realtime
ENV PATH=/opt/realtime/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REALTIME_HOST=0.0.0.0 \
    REALTIME_PORT=8080 \
    REALTIME_DATA_DIR=/var/lib/realtime/data \
    REALTIME_LOG_FORMAT=json
USER realtime
WORKDIR /var/lib/realtime
EXPOSE 8080
# A worker is asked at REALTIME_WORKER_PORT, which it needs for that.
# A drain takes REALTIME_DRAIN_WINDOW_S (10 s by default): stop the container with a longer timeout than that.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('REALTIME_WORKER_PORT') or os.environ['REALTIME_PORT']}/v1/health\", timeout=2)"]
ENTRYPOINT ["realtime"]
CMD ["hub"]
