"""A database for a server: an SQLite file, or a fresh one in the PostgreSQL under test."""

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from urllib.parse import urlsplit, urlunsplit

import psycopg

# postgres://user@host:port/anything, set by scripts/test.sh for the run on PostgreSQL.
ADDRESS = os.environ.get("BONDED_DATABASE", "")


def is_postgres():
    return ADDRESS.startswith("postgres")


def fresh(data):
    """What to write as `database` for a server with the data directory `data`."""
    if not is_postgres():
        return f"sqlite:{data}/bonded.db"
    name = f"bonded_{secrets.token_hex(6)}"
    with closing(psycopg.connect(ADDRESS, autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    return urlunsplit(urlsplit(ADDRESS)._replace(path="/" + name))


def drop(database):
    """Removes a database that `fresh` made in PostgreSQL. Its server has ended."""
    if not database.startswith("postgres"):
        return
    name = urlsplit(database).path.lstrip("/")
    with closing(psycopg.connect(ADDRESS, autocommit=True)) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def rows(database, statement, *parameters):
    """The rows of a SELECT with `?` for parameters, as dictionaries. Reads only."""
    if database.startswith("sqlite:"):
        path = database.removeprefix("sqlite:")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, parameters)]
    with closing(psycopg.connect(database, row_factory=psycopg.rows.dict_row)) as connection:
        return connection.execute(statement.replace("?", "%s"), parameters).fetchall()


def end_migration_lease(database):
    """Lets the time pass for which a node that died while it migrated is waited for."""
    if database.startswith("postgres"):
        with (
            closing(psycopg.connect(database, autocommit=True)) as connection,
            suppress(psycopg.errors.UndefinedTable),
        ):
            connection.execute("UPDATE schema_lease SET lease_until = 0")
