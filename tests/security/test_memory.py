"""Many clients at once stay within a bound of memory: pushes on either plane, and strangers.

Every test has a server of its own, because a peak never goes down again. The clients are cheap:
they share one buffer, and hash its bytes once.
"""

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import databases
from support.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, image
from support.raw import Http2, Raw, basic, call, peak, signed_head
from support.v2 import V2, with_query

MIB = 1024 * 1024
# What the server may have in RAM at most.
MOST = 256 * MIB
LONG = bool(os.environ.get("BONDED_LONG"))
# Clients that push at once, and how much each: the long form breaks off or discards it all.
CLIENTS, EACH = (64, 1024 * MIB) if LONG else (16, 64 * MIB)
# Clients that send what takes time to read: two are read at once, as many as there are cores.
READ = 4
STRANGERS = 200
PART = 20 * MIB
CHUNK = 16 * MIB
PATTERN = random.Random(20).randbytes(MIB)


# The bound is promised on SQLite, whose own memory is a part of it. On PostgreSQL each of the
# sixteen connections keeps what it sends and gets.
pytestmark = pytest.mark.skipif(databases.is_postgres(), reason="the bound is SQLite's")


@pytest.fixture
def server(fresh_registry):
    """A server with one repository."""
    made = fresh_registry()
    made.client().create_repository(repositoryName="app")
    return made


class Content:
    """The bytes of one client: a first block of its own, then a pattern that all share."""

    def __init__(self, number, size):
        self.first = f"client {number:57}".encode()
        self.size = size

    def pieces(self, start, end):
        """The bytes from `start` to `end`, in pieces that copy nothing large."""
        pattern = memoryview(PATTERN)
        if start < len(self.first):
            yield self.first[start:end]
            start = len(self.first)
        while start < end:
            at = (start - len(self.first)) % len(PATTERN)
            piece = pattern[at : at + end - start]
            yield piece
            start += len(piece)

    def digest(self):
        found = hashlib.sha256()
        for piece in self.pieces(0, self.size):
            found.update(piece)
        return f"sha256:{found.hexdigest()}"


def everybody(task, count=CLIENTS):
    """Runs `task(number)` in as many threads, which begin together."""
    gate = threading.Barrier(count)

    def run(number):
        gate.wait()
        return task(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def check_peak(server, what):
    """The bound, which holds on SQLite with the database's own cache."""
    most = peak(server)
    print(f"{what}: at most {most / MIB:.0f} MiB in RAM")
    assert most < MOST, f"{what}: {most / MIB:.0f} MiB"


def upload_size():
    """How much of `EACH` one upload has: all clients' together take a quarter of the free disk."""
    free = shutil.disk_usage(".").free
    return max(64 * MIB, min(EACH, free // 4 // CLIENTS // MIB * MIB))


class Pusher:
    """A client of `/v2/` on one connection."""

    def __init__(self, server, authorization):
        self.server = server
        self.authorization = authorization
        self.connection = Raw(server)

    def begin(self, method, target, headers=(), length=0):
        """Sends a head. `length` None says nothing about the length."""
        told = [("Authorization", self.authorization), *headers]
        if length is not None:
            told.append(("Content-Length", length))
        self.connection.head(method, target, told)

    def ask(self, method, target, headers=(), pieces=(), length=0):
        self.begin(method, target, headers, length)
        for piece in pieces:
            if not self.connection.send(piece):
                break
        return self.connection.answer()

    def start(self):
        status, headers, body = self.ask("POST", "/v2/app/blobs/uploads/")
        assert status == 202, body
        return headers["location"]

    def append(self, location, content, start, end):
        """One PATCH: every second one in chunks of HTTP's own, without Content-Range."""
        pieces = content.pieces(start, end)
        if start // CHUNK % 2:
            headers, length = [("Transfer-Encoding", "chunked")], None
            pieces = in_chunks(pieces)
        else:
            headers, length = [("Content-Range", f"{start}-{end - 1}")], end - start
        status, headers, body = self.ask("PATCH", location, headers, pieces, length)
        assert status == 202, body
        return headers["location"]

    def append_all(self, location, content):
        """An upload in several requests. Returns where it goes on."""
        for start in range(0, content.size, CHUNK):
            end = min(content.size, start + CHUNK)
            location = self.append(location, content, start, end)
        return location

    def finish(self, location, content, pieces=(), length=0):
        target = with_query(location, "digest", content.digest())
        status, _, body = self.ask("PUT", target, pieces=pieces, length=length)
        assert status == 201, body

    def break_off(self, location, content):
        """Says that more comes than does, and is gone."""
        self.begin("PATCH", location, length=2 * content.size)
        for piece in content.pieces(0, content.size):
            assert self.connection.send(piece)
        self.connection.close()
        self.connection = Raw(self.server)

    def discard(self, location):
        status, _, body = self.ask("DELETE", location)
        assert status == 204, body


def in_chunks(pieces):
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode()
        yield piece
        yield b"\r\n"
    yield b"0\r\n\r\n"


def push(server, authorization, number, is_monolithic):
    """Pushes `EACH` bytes. The long form keeps none of them: there is no room for so much."""
    pusher = Pusher(server, authorization)
    size = upload_size() if LONG else EACH
    for turn in range(EACH // size):
        content = Content(number * 1000 + turn, size)
        location = pusher.start()
        if LONG and (number + turn) % 2:
            pusher.break_off(location, content)
            pusher.discard(location)
        elif LONG:
            pusher.discard(pusher.append_all(location, content))
        elif is_monolithic:
            pusher.finish(location, content, content.pieces(0, size), size)
        else:
            pusher.finish(pusher.append_all(location, content), content)
    pusher.connection.close()


@pytest.mark.parametrize("is_monolithic", [False, True], ids=["chunked", "monolithic"])
def test_pushes_to_v2(server, is_monolithic):
    authorization = basic(server.password())
    everybody(lambda number: push(server, authorization, number, is_monolithic))
    check_peak(server, f"{CLIENTS} pushes of {EACH // MIB} MiB")


class Part:
    """A part in base64, with the hash of most of it ready: the rest of the body is each call's."""

    def __init__(self, size, escaped=False):
        pattern = PATTERN * (size // len(PATTERN))
        text = base64.b64encode(pattern)
        # One escape anywhere, and the text is not where the bytes can be decoded in place.
        text = text.replace(b"/", b"\\/", 1) if escaped else text
        self.size = len(pattern)
        self.body = b'{"layerPartBlob":"' + text
        self.hash = hashlib.sha256(self.body)

    def upload(self, connection, server, upload_id, start):
        """One UploadLayerPart, and its answer."""
        more = {
            "repositoryName": "app",
            "uploadId": upload_id,
            "partFirstByte": start,
            "partLastByte": start + self.size - 1,
        }
        rest = b'",' + json.dumps(more).encode()[1:]
        whole = self.hash.copy()
        whole.update(rest)
        length = len(self.body) + len(rest)
        connection.head(
            "POST", "/", signed_head(server, "UploadLayerPart", length, whole.hexdigest())
        )
        connection.send(self.body)
        connection.send(rest)
        return connection.answer()


@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
def test_parts_of_the_api(server, escaped):
    """UploadLayerPart with the largest parts there are, in Base64."""
    part = Part(PART, escaped)
    turns = 1 if escaped else max(1, EACH // PART // (4 if LONG else 1))

    def one(_):
        with Raw(server) as connection:
            begun = json.loads(
                call(connection, server, "InitiateLayerUpload", {"repositoryName": "app"})[2]
            )
            for turn in range(turns):
                answer = part.upload(connection, server, begun["uploadId"], turn * part.size)
                status, _, body = answer
                assert status == 200, body
                assert json.loads(body)["lastByteReceived"] == (turn + 1) * part.size - 1

    everybody(one, 64 if LONG else CLIENTS)
    check_peak(server, f"{CLIENTS} clients with parts of {PART // MIB} MiB")


def held_by_strangers(server, held):
    """Opens connections of every kind that somebody without a key can hold open."""
    # He has seen somebody's key id: that it is not his is known only after the body.
    head = signed_head(server, "PutImage", 9 * MIB, "0" * 64, secret="x" * 40)
    unsigned = {**head}
    del unsigned["Authorization"]
    form = [("content-type", "application/x-www-form-urlencoded")]
    for number in range(STRANGERS):
        kind = number % 5
        connection = held.enter_context(Http2(server) if kind == 4 else Raw(server))
        if kind == 1:
            connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 20_000)
        elif kind == 2:
            connection.head("POST", "/", unsigned)
            connection.send(PATTERN[:65536])
        elif kind == 3:
            connection.head("POST", "/", head)
            # As much as it is read: the rest waits in the buffers of the sockets.
            connection.socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(9):
                    connection.send(PATTERN[: MIB - 1])
        elif kind == 4:
            for stream in range(1, 200, 2):
                fields = [*form, *((f"x-{it}", "y" * 3_000) for it in range(5))]
                connection.send(
                    connection.head_frame(stream, "POST", "/", fields)
                    + connection.frame(connection.DATA, 0, stream, PATTERN[:600])
                )


def test_strangers(server):
    """Two hundred connections of nobody: idle, slow, with bodies that never end."""
    authorization = basic(server.password())
    with contextlib.ExitStack() as held:
        held_by_strangers(server, held)
        # What they hold does not keep others from pushing.
        push(server, authorization, 0, True)
    check_peak(server, f"{STRANGERS} connections of strangers")


def list_of(item, size):
    """A list of that many characters in all, about."""
    return ",".join([item] * (size // (len(item) + 1)))


UNFOLDING = {
    "parameters": ("PutImage", '{"imageManifest":"x","x":[' + list_of("0", 9 * MIB - 99) + "]}"),
    "names": ("DescribeRepositories", '{"repositoryNames":[' + list_of('""', MIB - 99) + "]}"),
    "images": (
        "BatchGetImage",
        '{"repositoryName":"app","imageIds":[' + list_of("{}", MIB - 99) + "]}",
    ),
    "tags": (
        "CreateRepository",
        '{"repositoryName":"app","tags":[' + list_of("{}", MIB - 99) + "]}",
    ),
    "keys": (
        "UntagResource",
        '{"resourceArn":"arn:aws:ecr:us-east-1:123456789012:repository/app","tagKeys":['
        + list_of('""', MIB - 199)
        + "]}",
    ),
    "depth": ("DescribeRegistry", '{"x":' + "[" * 500_000 + "]" * 500_000 + "}"),
}


@pytest.mark.parametrize("kind", UNFOLDING)
def test_calls_that_unfold(server, kind):
    """Two characters of JSON can be a value of a hundred bytes: no list is kept that long."""
    operation, body = UNFOLDING[kind]

    def one(_):
        with Raw(server) as connection:
            return call(connection, server, operation, body.encode())[0]

    assert set(everybody(one, READ)) <= {200, 400}
    check_peak(server, f"{READ} times {kind} of {len(body) / MIB:.0f} MiB")


@pytest.mark.parametrize("item", ["{}", '{"urls":["",""]}', '{"annotations":{"":""}}'])
@pytest.mark.parametrize("member", ["layers", "manifests"])
def test_manifests_that_unfold(server, member, item):
    kind = OCI_INDEX if member == "manifests" else OCI_MANIFEST
    body = f'{{"schemaVersion":2,"{member}":[{list_of(item, 4 * MIB - 99)}]}}'.encode()
    head = {"Authorization": basic(server.password()), "Content-Type": kind}

    def one(_):
        with Raw(server) as connection:
            return connection.request("PUT", "/v2/app/manifests/1", head, body)[0]

    assert set(everybody(one, READ)) == {400}
    check_peak(server, f"{READ} manifests of 4 MiB")


def test_a_manifest_that_unfolds_when_it_is_converted(server):
    v2 = V2(server.url, server.password())
    made = image()
    v2.push("app", made)
    made.document["x"] = [0] * (MIB * 3 // 2)
    assert v2.put_manifest("app", "1", made).status_code == 201
    head = {"Authorization": basic(server.password()), "Accept": DOCKER_MANIFEST}

    def one(_):
        with Raw(server) as connection:
            status, headers, _ = connection.request("GET", "/v2/app/manifests/1", head)
            return status, headers["content-type"]

    assert set(everybody(one, READ)) == {(200, DOCKER_MANIFEST)}
    check_peak(server, f"{READ} conversions of 3 MiB")


def test_many_large_manifests_in_one_answer(server):
    """A hundred of 4 MiB are not made in memory: there is a limit, and it says so."""
    ecr, v2 = server.client(), V2(server.url, server.password())
    made = image()
    v2.push("app", made)
    for number in range(8):
        made.document["annotations"] = {"filling": '"' * 1_900_000 + str(number)}
        assert v2.put_manifest("app", str(number), made).status_code == 201
    tags = [{"imageTag": str(number)} for number in range(8)]
    assert len(ecr.batch_get_image(repositoryName="app", imageIds=tags[:4])["images"]) == 4
    with pytest.raises(ecr.exceptions.LimitExceededException):
        ecr.batch_get_image(repositoryName="app", imageIds=tags)
    check_peak(server, "eight manifests of 4 MiB in one answer")
