"""Every limit of a request acts, at its own number (docs/security.md has the table)."""

import hashlib
import json

import pytest

from support.images import OCI_MANIFEST, image
from support.raw import Http2, Raw, basic, signed_head, statuses
from support.v2 import V2, error_code
from support.wait import until

KIB, MIB = 1024, 1024 * 1024
BODIES = {
    "DescribeImages": MIB,
    "CreateRepository": MIB,
    "PutImage": 9 * MIB,
    "UploadLayerPart": 28 * MIB,
}


@pytest.mark.parametrize("operation", BODIES)
def test_a_body_of_a_call(registry, operation):
    """One byte more is refused before any of it is read; that many are read."""
    most = BODIES[operation]
    with Raw(registry) as connection:
        connection.head("POST", "/", signed_head(registry, operation, most + 1, "0" * 64))
        status, _, body = connection.answer()
    assert (status, json.loads(body)["__type"]) == (413, "RequestEntityTooLargeException")
    data = b'{"repositoryName":"no/such"' + b" " * (most - 28) + b"}"
    with Raw(registry) as connection:
        head = signed_head(registry, operation, most, hashlib.sha256(data).hexdigest())
        connection.head("POST", "/", head)
        connection.send(data)
        assert connection.answer()[0] in (200, 400)


def test_a_body_of_a_call_without_a_length(registry):
    head = signed_head(registry, "UploadLayerPart", 0, "0" * 64)
    del head["Content-Length"]
    with Raw(registry) as connection:
        connection.head("POST", "/", {**head, "Transfer-Encoding": "chunked"})
        for _ in range(17):
            connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert connection.answer()[0] == 413


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_of_a_manifest(v2, repository, more):
    made = image()
    v2.push(repository, made)
    made.document["annotations"] = {"filling": ""}
    made.document["annotations"]["filling"] = "x" * (4 * MIB + more - len(made.manifest))
    assert len(made.manifest) == 4 * MIB + more
    assert v2.put_manifest(repository, "1", made).status_code == (413 if more else 201)


def test_a_form(registry):
    """Of a form that is too long nothing is read: its action is not known."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    with Raw(registry) as connection:
        form = b"Action=Known&x=" + b"x" * (64 * KIB - 15)
        assert b"InvalidAction" in connection.request("POST", "/", kind, form)[2]
    with Raw(registry) as connection:
        assert b"MissingAction" in connection.request("POST", "/", kind, form + b"x")[2]


def test_a_head(registry):
    for size, expected in ((31 * KIB, 401), (33 * KIB, 431)):
        with Raw(registry) as connection:
            assert connection.request("GET", "/v2/", {"X-Long": "x" * size})[0] == expected
        with Raw(registry) as connection:
            answer = connection.request("GET", "/v2/" + "x" * size)
            assert answer[0] in ((401,) if expected == 401 else (414, 431))
    # Host and Content-Length are two of them.
    for count, expected in ((98, 401), (99, 431)):
        with Raw(registry) as connection:
            headers = {f"X-{number}": "x" for number in range(count)}
            assert connection.request("GET", "/v2/", headers)[0] == expected


def test_streams_of_a_connection(registry, v2, repository):
    """The hundred and first stream is refused, and the others go on."""
    authorization = basic(v2.session.auth[1])
    with Http2(registry) as connection:
        for stream in range(1, 203, 2):
            head = [("authorization", authorization), ("content-type", OCI_MANIFEST)]
            connection.send(
                connection.head_frame(stream, "PUT", f"/v2/{repository}/manifests/1", head)
            )
        settings, refused = {}, None
        for kind, flags, stream, payload in connection.frames():
            if kind == connection.SETTINGS and not flags:
                for at in range(0, len(payload), 6):
                    settings[int.from_bytes(payload[at : at + 2])] = payload[at + 2 : at + 6]
            if kind == connection.RESET:
                refused = stream, int.from_bytes(payload)
                break
        # SETTINGS_MAX_CONCURRENT_STREAMS, and REFUSED_STREAM.
        assert int.from_bytes(settings[3]) == 100
        assert refused == (201, 7)
        connection.send(connection.frame(connection.DATA, 1, 1, b"{}"))
        ended = next(
            stream
            for kind, flags, stream, _ in connection.frames()
            if kind in (0, 1) and flags & connection.END_STREAM
        )
        assert ended == 1


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
def test_connections(fresh_registry, limit):
    """One more is closed at once, and its place is free when another one goes."""
    server = fresh_registry(f"[limits]\n{limit} = 5\n")
    held = [Raw(server) for _ in range(5)]
    for connection in held:
        assert connection.request("GET", "/v2/")[0] == 401
    with Raw(server) as sixth:
        assert sixth.rest() == b""
    held.pop().close()

    def is_served():
        with Raw(server) as connection:
            connection.head("GET", "/v2/", {"Connection": "close"})
            return statuses(connection.rest()) == [401]

    until(is_served, "a place is free")
    for connection in held:
        connection.close()


def test_requests_of_http2_count_like_connections(fresh_registry):
    """One connection of a hundred streams is not a way around the limit of connections."""
    server = fresh_registry("[limits]\nconnections_per_address = 5\n")
    kind = [("content-type", "application/x-www-form-urlencoded")]
    with Http2(server) as connection:
        for stream in range(1, 13, 2):
            connection.send(connection.head_frame(stream, "POST", "/", kind))
        kinds = [(kind, stream) for kind, _, stream, _ in connection.until_answered()]
        assert kinds[-1] == (connection.DATA, 11), "the sixth is answered, and the others wait"


def test_repositories_and_images_have_a_limit(fresh_registry):
    server = fresh_registry(
        "[limits]\nrepositories_per_registry = 2\nimages_per_repository = 2\n"
        '[testing]\nallow = true\ngarbage_grace = "1min"\njob_interval = "100ms"\n'
    )
    ecr, v2 = server.client(), V2(server.url, server.password())
    for name in ("one", "two"):
        ecr.create_repository(repositoryName=name)
    for number in range(2):
        v2.push("one", image(), str(number))

    def is_refused():
        try:
            ecr.create_repository(repositoryName="three")
        except ecr.exceptions.LimitExceededException:
            return True
        ecr.delete_repository(repositoryName="three")
        return False

    until(is_refused, "the figures are counted anew")

    def push_another():
        made = image()
        for blob in made.blobs:
            v2.push_blob("one", blob.data)
        return v2.put_manifest("one", "more", made)

    until(lambda: push_another().status_code != 201, "the figures are counted anew")
    answer = push_another()
    assert (answer.status_code, error_code(answer)) == (403, "DENIED")
    assert v2.push("two", image(), "1").status_code == 201
