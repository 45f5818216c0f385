"""Attacks by slowness and by number (attack 33)."""

import socket

import pytest
import requests
from requests.auth import _basic_auth_str

from support.v2 import V2

LIMITS = """
[limits]
header_time = "1s"
idle_time = "1s"
body_stall = "1s"
connections_per_address = 20
uploads_per_principal = 5
"""


@pytest.fixture
def registry(fresh_registry):
    """A server with small limits, so that they are reached soon."""
    server = fresh_registry(LIMITS)
    server.client().create_repository(repositoryName="app")
    return server


def closed(connection):
    """Waits until the server has closed a connection, and returns what it said."""
    said = b""
    try:
        while data := connection.recv(4096):
            said += data
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize(
    "start", [b"", b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: a"]
)
def test_33_a_header_that_never_ends(registry, start):
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(start)
    said = closed(connection)
    assert said == b"" or said.split(b" ", 2)[1] in (b"408", b"400")


def test_33_a_body_that_never_ends(registry):
    v2 = V2(registry.url, registry.password())
    location = v2.start_upload("app")
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(
        f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {_basic_auth_str(*v2.session.auth)}\r\n"
        "Content-Length: 1000\r\n\r\nsome".encode()
    )
    said = closed(connection)
    assert said == b"" or said.split(b" ", 2)[1] in (b"408", b"400")
    assert v2.get(location).headers["Range"] == "0-0"


def test_33_one_address_has_so_many_connections(registry):
    V2(registry.url).get("/v2/")
    held = [socket.create_connection(("127.0.0.1", registry.port), timeout=60) for _ in range(40)]
    # Those beyond the limit are closed, and later ones are taken again.
    for connection in held:
        closed(connection)
        connection.close()
    assert V2(registry.url).get("/v2/").status_code == 401


def test_33_uploads_of_one_principal(registry):
    """The last one is refused while none of the others has been idle for an hour."""
    ecr = registry.client()
    v2 = V2(registry.url, registry.password())
    for number in range(5):
        if number % 2:
            v2.start_upload("app")
        else:
            ecr.initiate_layer_upload(repositoryName="app")
    assert v2.post("/v2/app/blobs/uploads/").status_code == 429
    with pytest.raises(ecr.exceptions.LimitExceededException):
        ecr.initiate_layer_upload(repositoryName="app")


def test_33_headers_have_a_limit(registry):
    v2 = V2(registry.url, registry.password())
    for headers in ({"X-Large": "x" * 1_000_000}, {f"X-{number}": "x" for number in range(2000)}):
        try:
            status = v2.get("/v2/", headers=headers).status_code
        except requests.ConnectionError:
            continue  # a closed connection is an answer too
        assert status in (400, 431)
    assert v2.get("/v2/").status_code == 200
