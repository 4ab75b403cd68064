# Four images from one file, none of which runs as root or writes outside its volumes:
#   docker build --target exporter   -t capacity-advisor/model-exporter:0.1.0 .   the sidecar
#   docker build --target advisor    -t capacity-advisor/advisor:0.1.0 .          API, page, schedule, command line
#   docker build --target loadgen    -t capacity-advisor/loadgen:0.1.0 .          a load generator on another machine
#   docker build --target demo-model -t capacity-advisor/demo-model:0.1.0 .       the model of docker-compose.yml
ARG PYTHON=python:3.12.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Libraries first, with packages that are empty: a change of the code does not fetch them again. Each image then gets the
# code that it runs, and no more.
RUN mkdir advisor dashboards exporters && touch advisor/__init__.py dashboards/__init__.py exporters/__init__.py

FROM build AS build-exporter
RUN pip install . && rm -rf build
COPY exporters exporters
RUN pip install --no-deps --force-reinstall . && pip uninstall --yes pip

FROM build AS build-advisor
RUN pip install '.[advisor,postgres,kubernetes,dashboards]' && rm -rf build
COPY exporters exporters
COPY advisor advisor
COPY dashboards dashboards
RUN pip install --no-deps --force-reinstall .

FROM build AS build-loadgen
RUN pip install '.[advisor]' && rm -rf build
COPY exporters exporters
COPY advisor advisor
RUN pip install --no-deps --force-reinstall .

FROM build AS build-demo-model
RUN pip install '.[demo]' 'fastapi>=0.135' 'uvicorn>=0.34' && rm -rf build
COPY exporters exporters
COPY advisor advisor
RUN pip install --no-deps --force-reinstall .

FROM ${PYTHON} AS base
RUN groupadd --gid 10001 advisor && \
    useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/advisor advisor
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor="Capacity Advisor developers"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/advisor
USER 10001:10001

FROM base AS exporter
LABEL org.opencontainers.image.title=model-exporter \
      org.opencontainers.image.description="Measures a model server: latency, queue, in flight, CPU, memory, GPU"
COPY --from=build-exporter /opt/venv /opt/venv
EXPOSE 8081 9109
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9109/healthz', timeout=2)"]
ENTRYPOINT ["model-exporter"]
CMD ["--help"]

FROM base AS advisor
LABEL org.opencontainers.image.title=capacity-advisor \
      org.opencontainers.image.description="Load tests, capacity with an honest interval, and autoscaling targets"
COPY --from=build-advisor /opt/venv /opt/venv
# Compiled kernels are kept here, so that the first fit of a new container does not compile.
ENV NUMBA_CACHE_DIR=/var/lib/advisor/.numba
VOLUME /var/lib/advisor
EXPOSE 8000 5557
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["capacity-advisor"]
CMD ["serve", "--config", "/etc/advisor/advisor.yaml"]

FROM base AS loadgen
LABEL org.opencontainers.image.title=capacity-advisor-loadgen \
      org.opencontainers.image.description="Sends a share of a load test, as the advisor tells"
COPY --from=build-loadgen /opt/venv /opt/venv
# It serves nothing that could be asked: alive is connected, or trying to be.
HEALTHCHECK NONE
ENTRYPOINT ["capacity-advisor"]
CMD ["worker", "--help"]

FROM base AS demo-model
LABEL org.opencontainers.image.title=capacity-advisor-demo-model
COPY --from=build-demo-model /opt/venv /opt/venv
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["uvicorn", "advisor.demo.model:app", "--host", "0.0.0.0", "--port", "8080"]
