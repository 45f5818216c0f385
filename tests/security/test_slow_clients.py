"""Attacks by slowness and by number (attack 33)."""

import hashlib
import secrets
import socket
from contextlib import ExitStack

import pytest
import requests
from requests.auth import _basic_auth_str

from support.api import put_image, upload_layer
from support.images import OCI_MANIFEST, image
from support.policies import PULL, PUSH, allow
from support.raw import Http2, Raw, basic, signed_head
from support.server import OTHER_ACCOUNT
from support.v2 import V2
from support.wait import until

MIB = 1024 * 1024
SLOW = 200

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


@pytest.fixture
def usual(fresh_registry):
    """A server with the usual limits, and a repository that both accounts may use."""
    server = fresh_registry()
    ecr = server.client()
    ecr.create_repository(repositoryName="app")
    ecr.set_repository_policy(repositoryName="app", policyText=allow(OTHER_ACCOUNT, *PUSH, *PULL))
    return server


def works(server):
    """A client of the main account is served on either plane, with large bodies too."""
    ecr, v2 = server.client(), V2(server.url, server.password())
    large = image(annotations={"filling": secrets.token_hex(100_000)})
    v2.push("app", large, "1")
    assert v2.get_manifest("app", "1").content == large.manifest
    assert v2.get(f"/v2/app/blobs/{large.blobs[1].digest}").content == large.blobs[1].data
    large.document["annotations"]["filling"] = secrets.token_hex(100_000)
    put_image(ecr, "app", large, "2")
    data = secrets.token_bytes(6 * MIB)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    assert upload_layer(ecr, "app", data, [digest])["layerDigest"] == digest


def slow_head(server, _):
    connection = Raw(server)
    connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: a")
    return connection


def slow_upload(server, shared):
    connection = Raw(server)
    authorization = shared["authorization"]
    answer = connection.request("POST", "/v2/app/blobs/uploads/", {"Authorization": authorization})
    head = {"Authorization": authorization, "Content-Length": 100 * MIB}
    connection.head("PATCH", answer[1]["location"], head)
    connection.send(bytes(300_000))
    return connection


def slow_manifest(server, shared):
    connection = Raw(server)
    head = {
        "Authorization": shared["authorization"],
        "Content-Type": OCI_MANIFEST,
        "Content-Length": 4 * MIB,
    }
    connection.head("PUT", "/v2/app/manifests/slow", head)
    connection.send(bytes(100_000))
    return connection


def slow_call(server, shared, **options):
    connection = Raw(server)
    head = signed_head(server, "PutImage", 9 * MIB, "0" * 64, account=OTHER_ACCOUNT, **options)
    connection.head("POST", "/", head)
    connection.send(bytes(100_000))
    return connection


def slow_call_of_nobody(server, shared):
    """Of somebody who has seen a key's id: whether he has the key is known after the body."""
    return slow_call(server, shared, secret="x" * 40)


def slow_reader(server, shared):
    connection = Raw(server, receive_buffer=4096)
    connection.head("GET", shared["blob"], {"Authorization": shared["authorization"]})
    return connection


def slow_reader_of_manifests(server, shared):
    connection = Raw(server, receive_buffer=4096)
    head = {"Authorization": shared["authorization"], "Accept": "*/*"}
    connection.head("GET", "/v2/app/manifests/large", head)
    return connection


def slow_streams(server, shared):
    """Five streams of HTTP/2 on each connection, with a body that goes nowhere."""
    connection = Http2(server)
    for stream in range(1, 11, 2):
        connection.send(
            connection.head_frame(
                stream,
                "PUT",
                "/v2/app/manifests/slow",
                [("authorization", shared["authorization"]), ("content-length", 4 * MIB)],
            )
            + connection.frame(connection.DATA, 0, stream, bytes(16_000))
        )
    return connection


@pytest.mark.parametrize(
    "slow",
    [
        slow_head,
        slow_upload,
        slow_manifest,
        slow_call,
        slow_call_of_nobody,
        slow_reader,
        slow_reader_of_manifests,
        slow_streams,
    ],
)
def test_33_slow_ones_hold_up_nobody(usual, slow):
    """Two hundred hang, of an account of their own, and another account is served."""
    v2 = V2(usual.url, usual.password())
    blob = v2.push_blob("app", secrets.token_bytes(8 * MIB))
    v2.push("app", image(annotations={"filling": "x" * 3_900_000}), "large")
    shared = {
        "authorization": basic(usual.password(OTHER_ACCOUNT)),
        "blob": f"/v2/app/blobs/{blob}",
    }
    with ExitStack() as held:
        for _ in range(SLOW):
            held.enter_context(slow(usual, shared))
        works(usual)


def test_33_an_upload_that_nobody_appends_to(fresh_registry):
    """`upload_idle`: it ends, and its bytes go."""
    server = fresh_registry(
        '[limits]\nupload_idle = "1s"\n'
        '[testing]\nallow = true\ngarbage_grace = "1s"\njob_interval = "100ms"\n'
    )
    server.client().create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    location = v2.append(v2.start_upload("app"), secrets.token_bytes(100_000)).headers["Location"]
    until(lambda: v2.get(location).status_code == 404, "the idle upload ends")
    until(lambda: server.rows("SELECT * FROM upload") == [], "its row goes")


def test_33_a_connection_without_a_request(registry):
    with Raw(registry) as connection:
        assert connection.request("GET", "/v2/")[0] == 401
        assert connection.rest() == b""


@pytest.mark.parametrize("size", [20_000, 3_900_000], ids=["small", "large"])
def test_33_an_answer_that_nobody_reads(registry, size):
    """The connection is ended when nothing of its answer was taken for `body_stall`."""
    v2 = V2(registry.url, registry.password())
    v2.push("app", image(annotations={"filling": "x" * size}), "1")
    authorization = {"Authorization": basic(registry.password()), "Accept": "*/*"}
    with Raw(registry, receive_buffer=4096) as connection:
        # Small answers fit into the system's buffers, so many are asked for.
        for _ in range(4_000_000 // size + 200):
            if not connection.head("GET", "/v2/app/manifests/1", authorization):
                break
        ended = 'bonded_connections_ended_total{reason="slow_reader"} 1'
        until(lambda: ended in requests.get(f"{registry.admin}/metrics").text, "it is ended")
    assert v2.get_manifest("app", "1").status_code == 200
