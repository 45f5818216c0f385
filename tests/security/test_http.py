"""Attacks by HTTP itself, which no list of attacks on registries has: framing, hosts, numbers,
encodings, and floods of HTTP/2."""

import gzip
import hashlib
import json

import pytest

from support.images import OCI_MANIFEST, image
from support.raw import Http2, Raw, basic, call, memory, signed_head, statuses
from support.server import OTHER_ACCOUNT
from support.v2 import V2

BLOB = b"0123456789" * 10


@pytest.fixture
def authorization(v2):
    return basic(v2.session.auth[1])


def said(registry, text):
    """Sends bytes as they are, and returns the statuses of all answers until it hangs up."""
    with Raw(registry) as connection:
        connection.send(text.encode("latin-1"))
        return statuses(connection.rest())


# --- framing

SMUGGLED = "GET /v2/_catalog HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
FRAMINGS = {
    "two lengths": ["Content-Length: 0", "Content-Length: {length}"],
    "a list of lengths": ["Content-Length: 0, {length}"],
    "a space before the colon": ["Transfer-Encoding : chunked", "Content-Length: {length}"],
    "another coding": ["Transfer-Encoding: xchunked"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "chunked is not last": ["Transfer-Encoding: chunked, gzip"],
    "a folded line": ["X-Folded: a", " Transfer-Encoding: chunked"],
    "a sign": ["Content-Length: +5"],
    "hexadecimal": ["Content-Length: 0x5"],
    "too large": ["Content-Length: 99999999999999999999"],
    "a zero byte": ["X-Zero: a\0b"],
    "a bare return": ["X-Return: a\rTransfer-Encoding: chunked"],
}


@pytest.mark.parametrize("kind", FRAMINGS)
def test_framing_that_means_two_things(registry, authorization, repository, kind):
    """Refused, and nothing behind it is taken for a request of its own."""
    lines = "".join(f"{it}\r\n" for it in FRAMINGS[kind]).format(length=len(SMUGGLED))
    found = said(
        registry,
        f"POST /v2/{repository}/blobs/uploads/ HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {authorization}\r\n{lines}\r\n{SMUGGLED}",
    )
    assert found == [400], found


def test_a_length_beside_chunks_is_not_believed(registry, authorization, repository):
    """RFC 9112, 6.1: the chunks count. By the length, what follows would be another request."""
    body = f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
    found = said(
        registry,
        f"PUT /v2/{repository}/manifests/1 HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {authorization}\r\nContent-Type: {OCI_MANIFEST}\r\n"
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body,
    )
    assert found == [400], "one answer, for a manifest that is none"


@pytest.mark.parametrize("size", ["FFFFFFFFFFFFFFFFF", "-1", "0x5", "5 5", "g", ""])
def test_a_chunk_of_an_impossible_size(registry, v2, authorization, repository, size):
    location = v2.start_upload(repository)
    found = said(
        registry,
        f"PATCH {location} HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
    )
    assert found in ([400], []), found
    assert v2.get(location).headers["Range"] == "0-0"


def test_endless_extensions_of_a_chunk(registry, v2, authorization, repository):
    """What stands behind a chunk's size is skipped, and has a limit."""
    location = v2.start_upload(repository)
    with Raw(registry) as connection:
        connection.head(
            "PATCH", location, {"Authorization": authorization, "Transfer-Encoding": "chunked"}
        )
        connection.send(b"5;")
        while connection.send(b"x" * 65536):
            pass
    assert v2.get(location).headers["Range"] == "0-0"


def test_endless_trailers(registry, v2, authorization, repository):
    location = v2.start_upload(repository)
    with Raw(registry) as connection:
        connection.head(
            "PATCH", location, {"Authorization": authorization, "Transfer-Encoding": "chunked"}
        )
        connection.send(b"5\r\nhello\r\n0\r\n")
        while connection.send(b"X-Trailer: " + b"x" * 8000 + b"\r\n"):
            pass
    assert v2.get("/v2/").status_code == 200


# --- hosts


def test_two_hosts_are_none(registry, authorization):
    """A proxy may look at one of them, and the registry at the other."""
    other = registry.registry_host(OTHER_ACCOUNT)
    for first, second in ((registry.host, other), (other, registry.host)):
        with Raw(registry) as connection:
            head = [("Host", first), ("Host", second), ("Authorization", authorization)]
            assert connection.request("GET", "/v2/_catalog", head)[0] == 400
    for target in (other, "evil.example", f"user@{registry.host}"):
        with Raw(registry) as connection:
            head = {"Authorization": authorization}
            assert connection.request("GET", f"http://{target}/v2/_catalog", head)[0] == 400
    with Raw(registry) as connection:
        head = {"Authorization": authorization}
        answer = connection.request("GET", f"http://{registry.host}/v2/_catalog", head)
        assert answer[0] == 200


@pytest.mark.parametrize("host", ["a" * 5000, "evil\texample", "[::1", "%00", "a/b", "é", ""])
def test_a_host_that_is_none(registry, host):
    """No host of a stranger's comes back, and none makes the server fall over."""
    with Raw(registry) as connection:
        status, headers, body = connection.request("GET", "/v2/", {"Host": host})
    assert status in (400, 401, 404)
    if host:
        assert host not in str(headers) + body.decode()


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/v2/../metrics", "/debug"])
def test_what_is_for_operators_is_not_on_the_public_listener(registry, authorization, path):
    with Raw(registry) as connection:
        status, _, body = connection.request("GET", path, {"Authorization": authorization})
    assert status in (400, 404)
    assert b"bonded_" not in body


# --- numbers

RANGES = {
    "bytes=18446744073709551615-": 416,
    "bytes=99999999999999999999999-": 416,
    "bytes=-0": 416,
    "bytes=5-2": 416,
    "bytes=100-100": 416,
    "bytes=0-18446744073709551616": 206,
    "bytes=-99999999999999999999": 206,
    "bytes=99-18446744073709551615": 206,
    "bytes=--1": 200,
    "bytes=+1-2": 200,
    "bytes=0x1-2": 200,
    "bytes=0-0," + ",".join(f"{it}-" for it in range(2000)): 200,
}


@pytest.mark.parametrize("value", RANGES, ids=lambda it: it[:30])
def test_ranges_at_the_end_of_numbers(v2, repository, value):
    """No range overflows, and no list of ranges makes an answer larger than the blob."""
    blob = v2.push_blob(repository, BLOB)
    answer = v2.get(f"/v2/{repository}/blobs/{blob}", headers={"Range": value})
    assert answer.status_code == RANGES[value]
    if answer.status_code == 206:
        start, end = answer.headers["Content-Range"].split(" ")[1].split("/")[0].split("-")
        assert answer.content == BLOB[int(start) : int(end) + 1]
    elif answer.status_code == 200:
        assert answer.content == BLOB


@pytest.mark.parametrize(
    "value",
    [
        "0-18446744073709551615",
        "18446744073709551612-18446744073709551615",
        "9223372036854775804-9223372036854775807",
        "-1-2",
        "0-",
        "3-0",
        "0-3,4-7",
        "+0-3",
        "0-4",
        "1-4",
    ],
)
def test_content_ranges_at_the_end_of_numbers(v2, repository, value):
    location = v2.start_upload(repository)
    answer = v2.patch(location, data=b"abcd", headers={"Content-Range": value})
    assert answer.status_code in (400, 416), answer.text
    assert v2.get(location).headers["Range"] == "0-0"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63 - 4, 2**63 - 1),
        (0, 2**63 - 1),
        (2**63, 2**63 + 3),
        (-4, -1),
        (3, 0),
        (10**30, 10**30 + 3),
        (1e300, 1e300),
    ],
)
def test_parts_at_the_end_of_numbers(registry, ecr, repository, first, last):
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    body = {
        "repositoryName": repository,
        "uploadId": upload,
        "partFirstByte": first,
        "partLastByte": last,
        "layerPartBlob": "AAAA",
    }
    with Raw(registry) as connection:
        status, _, answer = call(connection, registry, "UploadLayerPart", body)
    assert status == 400
    assert json.loads(answer)["__type"] in (
        "InvalidLayerPartException",
        "InvalidParameterException",
        "SerializationException",
        "LimitExceededException",
    )


@pytest.mark.parametrize("size", ["9223372036854775807", "18446744073709551615", "1e400", "-1"])
def test_sizes_at_the_end_of_numbers(v2, repository, size):
    """Sizes are added up: the sum must not wrap."""
    made = image()
    v2.push(repository, made)
    layers = json.dumps([{**made.document["layers"][0], "size": 1}] * 3).replace(
        '"size": 1', f'"size": {size}'
    )
    text = json.dumps({**made.document, "layers": "LAYERS"}).replace('"LAYERS"', layers)
    answer = v2.put(
        f"/v2/{repository}/manifests/1", data=text, headers={"Content-Type": OCI_MANIFEST}
    )
    assert answer.status_code in (400, 404, 405), answer.text


# --- JSON

DOCUMENTS = {
    "a member twice": b'{"repositoryName":"%(name)s","repositoryName":"%(name)s-other"}',
    "more behind it": b'{"repositoryName":"%(name)s"}{"a":1}',
    "a byte order mark": b'\xef\xbb\xbf{"repositoryName":"%(name)s"}',
    "a list": b'["%(name)s"]',
    "nothing": b"",
    "half a surrogate": b'{"repositoryName":"%(name)s\\ud800"}',
    "no UTF-8": b'{"repositoryName":"%(name)s\xff"}',
    "a zero": b'{"repositoryName":"%(name)s\\u0000"}',
    "wide letters": '{"repositoryName":"%(name)sａ"}'.encode(),
    "a letter that looks like another": '{"repositoryName":"%(name)sа"}'.encode(),
    "a composed letter": '{"repositoryName":"%(name)se\u0301"}'.encode(),
    "a line's end": b'{"repositoryName":"%(name)s\\r\\nX-Injected: 1"}',
    "a comment": b'{"repositoryName":"%(name)s"/**/}',
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_json_that_is_read_in_two_ways(registry, ecr, name, kind):
    """Refused as a whole: nothing is made of one of its meanings."""
    body = DOCUMENTS[kind].replace(b"%(name)s", name.encode())
    with Raw(registry) as connection:
        status, headers, answer = call(connection, registry, "CreateRepository", body)
    assert status == 400
    assert "x-injected" not in headers
    assert json.loads(answer)["__type"] in (
        "SerializationException",
        "InvalidParameterException",
    )
    made = [it["repositoryName"] for it in ecr.describe_repositories()["repositories"]]
    assert not [it for it in made if it.startswith(name)]


def test_members_that_nobody_knows_do_nothing(registry, ecr, name):
    """No member of an answer can be set by sending it (mass assignment, attack 19)."""
    body = {
        "repositoryName": name,
        "registryId": "123456789012",
        "repositoryArn": "arn:aws:ecr:us-east-1:210987654321:repository/x",
        "createdAt": 0,
        "repositoryId": "00000000-0000-0000-0000-000000000000",
        "principalId": "root",
        "isAdmin": True,
    }
    with Raw(registry) as connection:
        status, _, answer = call(connection, registry, "CreateRepository", body)
    assert status == 200, answer
    made = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:123456789012:repository/{name}"
    assert made["createdAt"].year > 2000


def test_compressed_bodies_are_not_unpacked(registry, v2, repository):
    """A little gzip can be very much JSON; the bytes mean themselves."""
    bomb = gzip.compress(b" " * 50_000_000)
    head = {"Content-Encoding": "gzip", "Content-Type": OCI_MANIFEST}
    assert v2.put(f"/v2/{repository}/manifests/1", data=bomb, headers=head).status_code == 400
    with Raw(registry) as connection:
        signed = signed_head(
            registry, "DescribeRegistry", len(bomb), hashlib.sha256(bomb).hexdigest()
        )
        connection.head("POST", "/", {**signed, "Content-Encoding": "gzip"})
        connection.send(bomb)
        assert connection.answer()[0] == 400


# --- HTTP/2


def answers_others(registry):
    assert V2(registry.url).get("/v2/").status_code == 401


def test_streams_that_are_reset_at_once(registry):
    """Rapid reset: each stream is work and none counts as open. The connection is ended."""
    registry.expect_log("pending-accept streams reached limit")
    with Http2(registry) as connection:
        for stream in range(1, 200_001, 2):
            sent = connection.send(
                connection.head_frame(stream, "GET", "/v2/", flags=5)
                + connection.frame(connection.RESET, 0, stream, (8).to_bytes(4))
            )
            if not sent:
                break
        connection.wait_for_goodbye()
    answers_others(registry)


def test_a_head_that_goes_on_and_on(registry):
    """CONTINUATION without an end: there is a limit that no END_HEADERS is needed for."""
    with Http2(registry) as connection:
        connection.send(connection.head_frame(1, "GET", "/v2/", flags=0))
        more = b"".join(connection.header(f"x-{it}", "y" * 100) for it in range(100))
        for _ in range(2_000):
            if not connection.send(connection.frame(connection.CONTINUATION, 0, 1, more)):
                break
        connection.wait_for_goodbye()
    answers_others(registry)


@pytest.mark.parametrize("kind", ["settings", "ping", "empty data", "priority", "window"])
def test_frames_that_cost_nothing(registry, kind):
    """Floods of small frames: what has to be answered is not piled up for a peer that does not
    read."""
    with Http2(registry) as connection:
        connection.socket.settimeout(1)
        frame = {
            "settings": connection.frame(connection.SETTINGS, 0, 0, b""),
            "ping": connection.frame(6, 0, 0, bytes(8)),
            "empty data": connection.frame(connection.DATA, 0, 1, b""),
            "priority": connection.frame(2, 0, 3, bytes(5)),
            "window": connection.frame(8, 0, 0, (1).to_bytes(4)),
        }[kind]
        if kind == "empty data":
            connection.send(connection.head_frame(1, "POST", "/v2/x/blobs/uploads/"))
        before = memory(registry)
        try:
            for _ in range(200):
                if not connection.send(frame * 1_000):
                    break
        except TimeoutError:
            pass  # it is not read any more, which is an answer too
        assert memory(registry) - before < 32 * 1024 * 1024
    answers_others(registry)


def test_a_table_of_headers_that_grows(registry):
    """HPACK: one large field in the table, named again and again by one byte each."""
    with Http2(registry) as connection:
        # With incremental indexing (0x40): 3,000 bytes that come again for one byte each.
        fields = b"\x40" + connection.header("x-a", "y" * 3_000)[1:]
        block = connection.head_frame(1, "GET", "/v2/")[9:] + fields + b"\xbe" * 10_000
        connection.send(connection.frame(connection.HEADERS, 5, 1, block))
        kinds = [(kind, flags) for kind, flags, _, _ in connection.until_answered()]
        assert kinds
    answers_others(registry)
