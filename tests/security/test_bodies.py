"""Attacks by bodies: too large, endless, or lying about themselves (attacks 3, 4, 5 and 34)."""

import contextlib
import json
import socket

import pytest
from requests.auth import _basic_auth_str

from support.api import put_image, refused
from support.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Image, digest, image, index
from support.raw import Raw, peak
from support.signed import request, sign
from support.v2 import raw


def basic(v2):
    """The Authorization header of a caller."""
    return _basic_auth_str(*v2.session.auth)


def test_3_a_manifest_that_says_it_is_huge(registry, v2, repository):
    """Refused by its length, before a byte of it is read."""
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(
        f"PUT /v2/{repository}/manifests/1 HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {basic(v2)}\r\nContent-Type: {OCI_MANIFEST}\r\n"
        f"Content-Length: {10**12}\r\n\r\n".encode()
    )
    assert connection.recv(4096).split(b" ", 2)[1] == b"413"
    connection.close()


def endless(registry, head):
    """Sends chunks until the server has had enough, and returns its answer.

    It may read on for a moment, so that the client sees the answer; it must hold none of it.
    """
    before = peak(registry)
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk, answer = b"10000\r\n" + b"x" * 65536 + b"\r\n", b""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            connection.sendall(chunk)
    with contextlib.suppress(ConnectionResetError):
        answer = connection.recv(4096)
    connection.close()
    assert peak(registry) - before < 64 * 1024 * 1024
    return answer


def test_3_an_endless_manifest(registry, v2, repository):
    answer = endless(
        registry,
        f"PUT /v2/{repository}/manifests/1 HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {basic(v2)}\r\nContent-Type: {OCI_MANIFEST}\r\n",
    )
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"413", b"400")


def test_3_an_endless_call(registry):
    made = sign(registry, request(registry, "CreateRepository"))
    headers = "".join(f"{name}: {value}\r\n" for name, value in made.headers.items())
    answer = endless(registry, f"POST / HTTP/1.1\r\n{headers}")
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"413", b"400", b"411", b"403")


def test_3_a_call_that_says_it_is_huge(registry):
    made = sign(registry, request(registry, "CreateRepository"))
    headers = "".join(
        f"{name}: {value}\r\n" for name, value in made.headers.items() if name != "Content-Length"
    )
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(f"POST / HTTP/1.1\r\n{headers}Content-Length: {10**12}\r\n\r\n".encode())
    assert connection.recv(4096).split(b" ", 2)[1] in (b"413", b"400")
    connection.close()


def test_3_but_3_9_megabytes_are_taken(v2, repository):
    made = image()
    v2.push(repository, made)
    made.document["annotations"] = {"filling": "x" * 3_900_000}
    assert v2.put_manifest(repository, "1", made).status_code == 201


def test_4_an_index_that_names_itself(v2, ecr, repository):
    """No digest names itself; an index of a digest that is not there is refused."""
    made = index([])
    made.document["manifests"] = [
        {"mediaType": OCI_INDEX, "digest": "sha256:" + "a" * 64, "size": 100}
    ]
    assert v2.put_manifest(repository, "1", made).status_code == 404
    with refused("ReferencedImagesNotFoundException"):
        put_image(ecr, repository, made, "1")


def test_4_nested_indexes_end_somewhere(v2, repository):
    """A tower of indexes is taken up to a depth, and refused beyond, never followed for ever."""
    current = image()
    v2.push(repository, current)
    statuses = []
    for level in range(100):
        # Each lists the one below twice: a naive walk would double its work on every level.
        outer = index([], annotations={"level": str(level)})
        outer.document["manifests"] = [current.descriptor, current.descriptor]
        statuses.append(v2.put_manifest(repository, f"level-{level}", outer).status_code)
        if statuses[-1] != 201:
            break
        current = outer
    assert statuses[0] == 201
    assert statuses[-1] in (400, 405), "a limit of depth"
    assert v2.get_manifest(repository, current.digest).status_code == 200
    assert v2.delete(f"/v2/{repository}/manifests/{current.digest}").status_code == 202


def test_4_a_million_descriptors(v2, repository):
    one = image().descriptor
    made = index([])
    made.document["manifests"] = [
        {"mediaType": OCI_MANIFEST, "digest": one["digest"], "size": 1}
    ] * 20_000
    answer = v2.put_manifest(repository, "1", made)
    assert answer.status_code in (400, 405)


@pytest.mark.parametrize("kind", [OCI_MANIFEST, OCI_INDEX])
def test_5_both_an_image_and_an_index(v2, repository, kind):
    made = image()
    v2.push(repository, made)
    document = {**made.document, "mediaType": kind, "manifests": [made.descriptor]}
    answer = v2.put_manifest(repository, "1", Image(document, kind))
    assert answer.status_code in (400, 405)
    assert v2.get_manifest(repository, "1").status_code == 404


def test_5_a_type_that_is_not_the_documents(v2, repository):
    made = image()
    v2.push(repository, made)
    for wrong in (DOCKER_MANIFEST, OCI_INDEX, "text/html", "image/svg+xml"):
        answer = v2.put(
            f"/v2/{repository}/manifests/1", data=made.manifest, headers={"Content-Type": wrong}
        )
        assert answer.status_code in (400, 405), wrong
    assert v2.get_manifest(repository, "1").status_code == 404


def test_5_a_type_that_says_nothing(v2, repository):
    """Old clients say JSON or text; what is served later is what the document says."""
    made = image()
    v2.push(repository, made)
    for vague in ("application/json", "text/plain"):
        path = f"/v2/{repository}/manifests/1"
        answer = v2.put(path, data=made.manifest, headers={"Content-Type": vague})
        assert answer.status_code == 201
        assert v2.get_manifest(repository, "1").headers["Content-Type"] == OCI_MANIFEST


def test_5_an_index_said_to_be_an_image(v2, repository):
    made = index()
    for child in made.children:
        v2.push(repository, child)
    del made.document["mediaType"]
    answer = v2.put(
        f"/v2/{repository}/manifests/1", data=made.manifest, headers={"Content-Type": OCI_MANIFEST}
    )
    assert answer.status_code in (400, 405)


def test_5_the_type_of_the_push_is_served(v2, repository):
    made = image()
    v2.push(repository, made)
    del made.document["mediaType"]
    assert v2.put_manifest(repository, "1", made).status_code == 201
    for accept in (OCI_MANIFEST, "*/*", "text/html, */*"):
        answer = v2.get(f"/v2/{repository}/manifests/1", headers={"Accept": accept})
        assert answer.headers["Content-Type"] == OCI_MANIFEST


def test_5_members_twice(v2, repository):
    """Two members of one name mean one thing to one reader and another to the next."""
    made = image()
    v2.push(repository, made)
    other = json.dumps(made.document["layers"]).encode()
    doubled = made.manifest[:-1] + b',"layers":' + other + b"}"
    answer = v2.put(
        f"/v2/{repository}/manifests/1", data=doubled, headers={"Content-Type": OCI_MANIFEST}
    )
    assert answer.status_code in (400, 405)


def test_34_a_length_that_lies(registry, v2, repository):
    """A body that ends before its Content-Length is no append."""
    location = v2.start_upload(repository)
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(
        f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nAuthorization: {basic(v2)}\r\n"
        "Content-Length: 1000\r\n\r\nonly this".encode()
    )
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass
    connection.close()
    assert v2.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "-1"},
        {"Content-Length": "abc"},
        {"Content-Length": "10, 20"},
        {"Content-Length": "18446744073709551617"},
        {"Transfer-Encoding": "gzip, chunked", "Content-Length": "5"},
        {"Transfer-Encoding": "identity"},
    ],
)
def test_34_framing_that_lies(registry, v2, repository, headers):
    location = v2.start_upload(repository)
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(
        f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\nAuthorization: {basic(v2)}\r\n"
        f"{lines}\r\n0123456789".encode()
    )
    connection.shutdown(socket.SHUT_WR)
    answer = connection.recv(4096)
    connection.close()
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"411", b"413", b"501"), answer
    assert v2.get(location).headers["Range"] == "0-0"


def test_34_a_request_inside_a_request(registry, v2, repository):
    """Two framings at once: the second request must not be taken for one of its own."""
    smuggled = f"DELETE /v2/{repository}/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    made = image()
    v2.push(repository, made, "1")
    status, _, _ = raw(
        registry.url,
        "POST",
        f"/v2/{repository}/blobs/uploads/",
        {"Host": registry.host, "Authorization": basic(v2), "Transfer-Encoding": "chunked"},
        b"0\r\n\r\n" + smuggled.encode(),
    )
    assert status in (202, 400)
    assert v2.get_manifest(repository, "1").content == made.manifest


def test_34_chunks_out_of_order(v2, repository):
    """Neither a gap nor an overlap; only the last chunk may come once more, as it was."""
    location = v2.start_upload(repository)
    assert v2.append(location, b"abcd", 0).status_code == 202
    assert v2.append(location, b"efgh", 4).status_code == 202
    for start, data in ((12, b"mnop"), (9, b"j"), (6, b"xxxx"), (0, b"abcd"), (0, b"abcdefgh")):
        answer = v2.append(location, data, start)
        assert answer.status_code == 416, start
    assert v2.append(location, b"EFGH", 4).status_code == 416
    assert v2.append(location, b"efgh", 4).status_code == 202
    assert v2.get(location).headers["Range"] == "0-7"
    assert v2.finish(location, digest(b"abcdefgh")).status_code == 201


def test_34_two_writers_of_one_upload(registry, v2, repository):
    """Who is acknowledged first has written; the other one is told, and nothing is mixed."""
    location = v2.start_upload(repository)
    with Raw(registry) as slow:
        slow.head("PATCH", location, {"Authorization": basic(v2), "Content-Length": 8})
        slow.send(b"slow")
        assert v2.append(location, b"fastfast").status_code == 202
        slow.send(b"slow")
        assert slow.answer()[0] in (404, 409, 416)
    assert v2.get(location).headers["Range"] == "0-7"
    assert v2.finish(location, digest(b"fastfast")).status_code == 201


def test_34_a_writer_of_what_is_complete(registry, v2, repository):
    """An upload is completed while somebody still appends to it: what was completed stays."""
    location = v2.append(v2.start_upload(repository), b"whole").headers["Location"]
    with Raw(registry) as slow:
        slow.head("PATCH", location, {"Authorization": basic(v2), "Content-Length": 8})
        slow.send(b"slow")
        assert v2.finish(location, digest(b"whole")).status_code == 201
        slow.send(b"slow")
        assert slow.answer()[0] in (404, 409, 416)
    assert v2.get(f"/v2/{repository}/blobs/{digest(b'whole')}").content == b"whole"
