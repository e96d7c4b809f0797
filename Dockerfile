# The server and nothing else: dependencies from the hashed lock, no build tools, no shell needed, any user id.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/scim
WORKDIR /src
COPY requirements-server.lock .
RUN /opt/scim/bin/pip install --require-hashes -r requirements-server.lock
COPY pyproject.toml README.md LICENSE ./
COPY scim_server scim_server
COPY migrations migrations
COPY examples examples
RUN /opt/scim/bin/pip install --no-deps --no-build-isolation . \
    && /opt/scim/bin/pip uninstall --yes hatchling editables trove-classifiers pathspec pluggy pip

FROM python:3.13-slim
# Bytecode was compiled above; at run time nothing is written but /data (SQLite) and what the database keeps.
ENV PATH=/opt/scim/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/scim /opt/scim
# Group 0 owns /data as well, for platforms that choose a user id of their own.
RUN install -d -o 10001 -g 0 -m 0770 /data
WORKDIR /data
VOLUME /data
USER 10001:0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + (os.getenv('SCIM_ADMIN_PORT') or os.getenv('SCIM_PORT') or '8080') + '/livez', timeout=2)"]
CMD ["scim-server", "serve", "--host", "0.0.0.0"]
