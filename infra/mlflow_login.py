"""How MLflow's server lets in a request: past the guard, then by name and password.

MLflow calls `authenticate` because auth.ini names it. Its own check of origins allows every page of this machine,
whoever serves it.
"""

from __future__ import annotations

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth
from werkzeug.datastructures import Authorization

from infra.guard import refusal
from infra.settings import allowed_hosts

__all__ = ["authenticate"]


def authenticate() -> Authorization | Response:
    """Return who sends the current request, or the answer that refuses it."""
    reason = refusal(request.method, {name.lower(): value for name, value in request.headers}, allowed_hosts())
    if reason:
        return Response(reason + "\n", status=403, mimetype="text/plain")
    let_in: Authorization | Response = authenticate_request_basic_auth()
    return let_in
