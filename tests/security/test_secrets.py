"""Secrets: made at random, kept apart, sealed at rest, and never told (attacks 19 and 32)."""

import gzip
import re
import secrets
import stat
from contextlib import closing

import psycopg

from support.images import Blob, image
from support.signed import request, send, sign
from support.v2 import V2
from support.wait import until


def test_19_every_deployment_has_its_own_credentials(fresh_registry):
    first, second = fresh_registry(), fresh_registry()
    assert first.credentials()[0] != second.credentials()[0]
    assert first.credentials()[1] != second.credentials()[1]
    key, secret = first.credentials()
    assert re.fullmatch(r"AKIA[A-Z0-9]{16}", key)
    assert len(secret) == 40
    assert stat.S_IMODE((first.data / "credentials").stat().st_mode) == 0o600


def test_19_a_second_start_keeps_them(fresh_registry):
    registry = fresh_registry()
    before = registry.credentials()
    registry.restart()
    assert registry.credentials() == before
    registry.client().describe_registry()


def test_32_errors_tell_no_secret(registry):
    _, secret = registry.credentials()
    answer = send(sign(registry, request(registry, "DescribeRegistry"), secret="x" * 40))
    assert secret not in answer.text
    assert "AWS4" not in answer.text
    # The strings that were compared are for nobody: they help to forge.
    assert "canonical" not in answer.text.lower()


def test_32_the_log_has_no_secret_but_the_rest(registry, v2, repository):
    """Who, what and from where are in the access log."""
    made = image()
    v2.push(repository, made, "1")

    def told():
        lines = [line for line in registry.log.text().splitlines() if repository in line]
        return any("127.0.0.1" in line and made.digest in line for line in lines)

    until(told, "a line of the log has the address, the repository and the digest")
    assert registry.log.secrets() == []


MARKERS = {
    "layer": b"MARKER-" + secrets.token_hex(12).encode(),
    "config": b"MARKER-" + secrets.token_hex(12).encode(),
    "manifest": b"MARKER-" + secrets.token_hex(12).encode(),
    "upload": b"MARKER-" + secrets.token_hex(12).encode(),
}


def contents(registry):
    """Every byte that the deployment keeps: its files, and the rows if they are elsewhere."""
    for path in registry.data.rglob("*"):
        if path.is_file() and path.name != "credentials":
            yield str(path.relative_to(registry.data)), path.read_bytes()
    if not registry.database.startswith("postgres"):
        return
    with closing(psycopg.connect(registry.database)) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f'SELECT t::text FROM "{table}" t'):
                yield table, row.encode()


def test_nothing_is_kept_in_plain(fresh_registry):
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    # Not compressed, so that the marker would be seen.
    made = image(
        [Blob(MARKERS["layer"] * 100)],
        annotations={"marker": MARKERS["manifest"].decode()},
        Labels={"marker": MARKERS["config"].decode()},
    )
    v2.push("app", made, "1")
    location = v2.append(v2.start_upload("app"), MARKERS["upload"] * 1000).headers["Location"]
    v2.get_manifest("app", "1")
    registry.client().describe_images(repositoryName="app")
    _, secret = registry.credentials()
    hidden = {**MARKERS, "secret": secret.encode(), "password": v2.session.auth[1].encode()}
    for when in ("while it runs", "after it ended"):
        seen = 0
        for place, data in contents(registry):
            seen += 1
            for kind, marker in hidden.items():
                for form in (marker, marker.hex().encode(), gzip.compress(marker)[10:-8]):
                    assert form not in data, f"{when}: {place} holds the {kind} in plain"
        assert seen > 3
        if when == "while it runs":
            registry.stop()
    registry.start()
    assert v2.get_manifest("app", "1").content == made.manifest
    assert v2.get(location).headers["Range"] == f"0-{len(MARKERS['upload']) * 1000 - 1}"


def test_names_of_objects_say_nothing(fresh_registry):
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    # Small ones lie in rows.
    made = image([Blob(secrets.token_bytes(1024 * 1024))])
    v2.push("app", made, "1")
    names = [
        path.name for path in (registry.data / "objects-us-east-1").rglob("*") if path.is_file()
    ]
    assert names
    for blob in made.blobs[1:]:
        hexadecimal = blob.digest.split(":")[1]
        assert not any(hexadecimal[:16] in name for name in names)


def test_files_are_for_their_owner(fresh_registry):
    registry = fresh_registry()
    for path in registry.data.rglob("*"):
        if path.is_file() and path.name in ("credentials", "root.key", "bonded.db"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
