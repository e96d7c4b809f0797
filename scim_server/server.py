"""`python -m scim_server.server HOST PORT WORKERS`: the server and nothing else.

`scim-server serve` prepares the database and then becomes this program, so that migrations and the command line do
not stay in the memory of every worker.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from scim_server import log
from scim_server.web.protocol import PunctualProtocol


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    host, port, workers = sys.argv[1:]
    log.configure("info")  # for the process that binds and starts workers; each worker sets the level that is asked for
    # After an orderly stop uvicorn raises the signal again; a stop that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with _shared_metrics(int(workers)):
            uvicorn.run(
                "scim_server.app:from_environment",
                factory=True,
                host=host,
                port=int(port),
                workers=int(workers),
                http=PunctualProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
                backlog=2048,
            )
    except SystemExit as end:
        sys.exit(end.code and 1)  # uvicorn has an exit code of its own for what fails at start


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Where metrics of several processes meet in files: a folder that goes with the server, unless one is given."""
    name = "PROMETHEUS_MULTIPROC_DIR"
    if workers == 1 or name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="scim-metrics-") as os.environ[name]:
        yield


if __name__ == "__main__":
    main()
