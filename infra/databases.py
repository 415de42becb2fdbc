"""Creates the two PostgreSQL databases of a stack, `prefect` and `mlflow`, on one server."""

from __future__ import annotations

from contextlib import suppress

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from infra.settings import StackSettings
from tinystyle.errors import UserError

__all__ = ["DATABASES", "ensure_databases"]

DATABASES = ("prefect", "mlflow")


def ensure_databases(settings: StackSettings) -> None:
    """Create the databases if absent; the servers fill and migrate them.

    Raises:
        UserError: the server cannot be reached at this address, or its user may not create databases.
    """
    address = f"{settings.database}/postgres"
    try:
        connection = psycopg2.connect(address, connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise UserError(f"PostgreSQL refuses the connection; check --database: {error}") from error
    try:
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)  # CREATE DATABASE cannot run in a transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {row[0] for row in cursor.fetchall()}
            for name in DATABASES:
                if name not in present:
                    with suppress(errors.DuplicateDatabase, errors.UniqueViolation):  # another one is just making it
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except errors.InsufficientPrivilege as error:
        raise UserError(
            "the PostgreSQL user of --database is not allowed to create databases; have an administrator run: "
            "createdb prefect --owner USER; createdb mlflow --owner USER"
        ) from error
    finally:
        connection.close()
