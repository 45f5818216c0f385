"""What is PostgreSQL's alone: the connection to it."""

import os

import pytest

from support import databases
from support.server import ACCOUNT
from support.tools import bonded, run

pytestmark = pytest.mark.skipif(not databases.is_postgres(), reason="this is SQLite's run")


def encrypted(database, parameters):
    return f"{database.partition('?')[0]}?{parameters}"


def test_the_servers_certificate_is_verified(fresh_registry):
    registry = fresh_registry()
    registry.stop()
    certificate = os.environ["BONDED_TEST_POSTGRES_CERTIFICATE"]
    plain = registry.config_file.read_text()

    def use(parameters):
        database = encrypted(registry.database, parameters)
        registry.config_file.write_text(plain.replace(registry.database, database))

    use(f"sslmode=verify-full&sslrootcert={certificate}")
    registry.start()
    statement = (
        "SELECT COUNT(*) AS sessions FROM pg_stat_ssl s JOIN pg_stat_activity a ON a.pid = s.pid"
        " WHERE a.datname = current_database() AND a.application_name = 'bonded' AND s.ssl"
    )
    assert databases.rows(registry.database, statement)[0]["sessions"] > 0
    assert registry.client().describe_registry()["registryId"] == ACCOUNT
    registry.stop()

    # The system's certificates have not signed it.
    use("sslmode=verify-full")
    refused = run(
        bonded(), "serve", "--data", str(registry.data), "--config", str(registry.config_file)
    )
    assert refused.returncode != 0
    assert "certificate" in refused.stderr
    registry.config_file.write_text(plain)
    registry.start()
