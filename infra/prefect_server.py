"""`python -m infra.prefect_server`: Prefect's server behind the guard, as its own settings (PREFECT_SERVER_...) say.

`prefect server start` does the same without a guard: it has no place for middleware.
"""

from __future__ import annotations

import os

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from infra.guard import Guard
from infra.settings import TLS_CERTIFICATE, TLS_KEY, allowed_hosts

if __name__ == "__main__":
    server = get_current_settings().server
    uvicorn.run(
        Guard(create_app(final=True), allowed_hosts(), probes=("/api/health", "/api/ready")),
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
        ssl_certfile=os.environ.get(TLS_CERTIFICATE) or None,
        ssl_keyfile=os.environ.get(TLS_KEY) or None,
    )
