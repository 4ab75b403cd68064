# Three images from one file:
#   docker build --target model-exporter -t capacity-advisor/model-exporter .
#   docker build --target advisor        -t capacity-advisor/advisor .
#   docker build --target demo-model     -t capacity-advisor/demo-model .
FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 10001 --create-home --home-dir /var/lib/advisor advisor
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY exporters exporters
COPY dashboards dashboards

FROM base AS model-exporter
# The sidecar's own code alone: the advisor's folder is not in this image.
RUN mkdir advisor && touch advisor/__init__.py && pip install . && rm -rf /src/*
USER 10001
EXPOSE 8081 9109
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9109/healthz', timeout=2)"]
ENTRYPOINT ["model-exporter"]
CMD ["--help"]

FROM base AS advisor
COPY advisor advisor
RUN pip install '.[advisor,postgres]' && rm -rf /src/*
# Compiled kernels are kept here, so that the first fit of a new container does not compile.
ENV NUMBA_CACHE_DIR=/var/lib/advisor/.numba
WORKDIR /var/lib/advisor
USER 10001
VOLUME /var/lib/advisor
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["capacity-advisor"]
CMD ["serve", "--config", "/etc/advisor/advisor.yaml"]

FROM base AS demo-model
COPY advisor advisor
RUN pip install '.[demo]' 'fastapi>=0.115' 'uvicorn>=0.34' && rm -rf /src/*
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["uvicorn", "advisor.demo.model:app", "--host", "0.0.0.0", "--port", "8080"]
