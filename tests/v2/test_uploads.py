"""Uploading blobs in all their ways.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
"""

import secrets
import select
import socket
from urllib.parse import urlsplit

import pytest
from requests.auth import _basic_auth_str

from support.images import digest
from support.v2 import error_code, with_query


@pytest.fixture
def data():
    """Bytes that no other test pushes."""
    return secrets.token_bytes(50_000)


def test_a_new_upload(v2, repository):
    answer = v2.post(f"/v2/{repository}/blobs/uploads/")
    assert answer.status_code == 202
    location = answer.headers["Location"]
    assert location.startswith(f"/v2/{repository}/blobs/uploads/")
    assert answer.headers["Docker-Upload-UUID"] in location
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["Content-Length"] == "0"


def test_post_then_put(v2, repository, data):
    answer = v2.finish(v2.start_upload(repository), digest(data), data)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/{repository}/blobs/{digest(data)}"
    assert answer.headers["Docker-Content-Digest"] == digest(data)
    assert v2.get(answer.headers["Location"]).content == data


def test_a_single_post(v2, repository, data):
    answer = v2.post(
        f"/v2/{repository}/blobs/uploads/?digest={digest(data)}",
        data=data,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == digest(data)
    assert v2.get(answer.headers["Location"]).content == data


def test_a_single_post_with_a_wrong_digest(v2, repository, data):
    answer = v2.post(f"/v2/{repository}/blobs/uploads/?digest=sha256:{'0' * 64}", data=data)
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")
    assert v2.head(f"/v2/{repository}/blobs/{digest(data)}").status_code == 404


def test_chunks_with_their_ranges(v2, repository, data):
    location, start = v2.start_upload(repository), 0
    for size in (1, 20_000, 29_999):
        answer = v2.append(location, data[start : start + size], start)
        start += size
        assert answer.status_code == 202
        assert answer.headers["Range"] == f"0-{start - 1}"
        location = answer.headers["Location"]
    assert v2.finish(location, digest(data)).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_a_stream_without_a_length(v2, repository, data):
    def pieces():
        for start in range(0, len(data), 7000):
            yield data[start : start + 7000]

    answer = v2.patch(v2.start_upload(repository), data=pieces())
    assert answer.status_code == 202
    assert answer.headers["Range"] == f"0-{len(data) - 1}"
    assert v2.finish(answer.headers["Location"], digest(data)).status_code == 201


def test_the_last_bytes_may_come_with_the_put(v2, repository, data):
    answer = v2.append(v2.start_upload(repository), data[:10_000])
    assert v2.finish(answer.headers["Location"], digest(data), data[10_000:]).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_the_status_of_an_upload(v2, repository, data):
    location = v2.start_upload(repository)
    answer = v2.get(location)
    assert (answer.status_code, answer.headers["Range"]) == (204, "0-0")
    location = v2.append(location, data).headers["Location"]
    answer = v2.get(location)
    assert (answer.status_code, answer.headers["Range"]) == (204, f"0-{len(data) - 1}")
    assert answer.headers["Location"].startswith(f"/v2/{repository}/blobs/uploads/")
    assert answer.headers["Docker-Upload-UUID"] in answer.headers["Location"]


def test_an_upload_is_cancelled(v2, repository, data):
    location = v2.append(v2.start_upload(repository), data).headers["Location"]
    assert v2.delete(location).status_code == 204
    for answer in (
        v2.get(location),
        v2.append(location, b"more"),
        v2.finish(location, digest(data)),
        v2.delete(location),
    ):
        assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert v2.head(f"/v2/{repository}/blobs/{digest(data)}").status_code == 404


def test_an_upload_ends_once(v2, repository, data):
    location = v2.start_upload(repository)
    assert v2.finish(location, digest(data), data).status_code == 201
    answer = v2.append(location, b"more")
    assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("start", [0, 9_999, 10_001, 1_000_000])
def test_a_chunk_out_of_order(v2, repository, data, start):
    location = v2.append(v2.start_upload(repository), data[:10_000], 0).headers["Location"]
    answer = v2.append(location, data[10_000:20_000], start)
    assert (answer.status_code, error_code(answer)) == (416, "BLOB_UPLOAD_INVALID")
    # The acknowledged bytes stand, and the upload goes on where it was.
    assert v2.get(location).headers["Range"] == "0-9999"
    location = v2.append(location, data[10_000:], 10_000).headers["Location"]
    assert v2.finish(location, digest(data)).status_code == 201


def test_the_last_chunk_may_come_again(v2, repository, data):
    location = v2.append(v2.start_upload(repository), data[:10_000], 0).headers["Location"]
    first = v2.append(location, data[10_000:20_000], 10_000)
    again = v2.append(location, data[10_000:20_000], 10_000)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Range"] == first.headers["Range"] == "0-19999"
    assert v2.append(location, secrets.token_bytes(10_000), 10_000).status_code == 416
    assert v2.finish(again.headers["Location"], digest(data), data[20_000:]).status_code == 201


@pytest.mark.parametrize(
    "content_range",
    ["junk", "5", "0-", "-5", "5-3", "bytes 0-9", "0-9/100", "a-b", "0-99999999999999999999"],
)
def test_a_bad_content_range(v2, repository, content_range):
    location = v2.start_upload(repository)
    answer = v2.patch(location, data=b"0123456789", headers={"Content-Range": content_range})
    assert answer.status_code in (400, 416)
    assert v2.get(location).headers["Range"] == "0-0"


def test_a_content_range_that_is_not_the_body(v2, repository):
    location = v2.start_upload(repository)
    for content_range in ("0-8", "0-10"):
        answer = v2.patch(location, data=b"0123456789", headers={"Content-Range": content_range})
        assert answer.status_code in (400, 416)
        assert v2.get(location).headers["Range"] == "0-0"


def test_a_wrong_digest(v2, repository, data):
    wrong = "sha256:" + "8" * 64
    answer = v2.finish(v2.start_upload(repository), wrong, data)
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")
    for blob in (wrong, digest(data)):
        assert v2.head(f"/v2/{repository}/blobs/{blob}").status_code == 404


@pytest.mark.parametrize("bad", ["", "junk", "sha256:abc", "md5:" + "0" * 32, "sha512:" + "0" * 64])
def test_what_is_no_digest(v2, repository, bad):
    answer = v2.finish(v2.start_upload(repository), bad, b"data")
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")


def test_a_digest_is_needed(v2, repository):
    answer = v2.put(v2.start_upload(repository), data=b"data")
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")


def test_sha512_that_was_announced(v2, repository, data):
    location = v2.start_upload(repository, **{"digest-algorithm": "sha512"})
    location = v2.append(location, data).headers["Location"]
    wanted = digest(data, "sha512")
    answer = v2.finish(location, wanted)
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == wanted
    assert v2.get(f"/v2/{repository}/blobs/{wanted}").content == data


def test_sha512_that_was_not_announced(v2, repository, data):
    location = v2.append(v2.start_upload(repository), data).headers["Location"]
    wanted = digest(data, "sha512")
    assert v2.finish(location, wanted).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{wanted}").content == data
    assert v2.finish(v2.start_upload(repository), "sha512:" + "0" * 128, data).status_code == 400


def test_sha256_of_an_upload_for_sha512(v2, repository, data):
    location = v2.start_upload(repository, **{"digest-algorithm": "sha512"})
    assert v2.finish(location, digest(data), data).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_an_unknown_algorithm(v2, repository):
    answer = v2.post(f"/v2/{repository}/blobs/uploads/?digest-algorithm=md5")
    assert answer.status_code == 400


def test_a_blob_that_is_there_already(v2, repository, data):
    for _ in range(2):
        assert v2.push_blob(repository, data) == digest(data)
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_the_registry_begins_and_the_api_ends(v2, ecr, repository, data):
    answer = v2.post(f"/v2/{repository}/blobs/uploads/")
    upload = answer.headers["Docker-Upload-UUID"]
    done = ecr.upload_layer_part(
        repositoryName=repository,
        uploadId=upload,
        partFirstByte=0,
        partLastByte=len(data) - 1,
        layerPartBlob=data,
    )
    assert done["lastByteReceived"] == len(data) - 1
    assert v2.get(answer.headers["Location"]).headers["Range"] == f"0-{len(data) - 1}"
    ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload, layerDigests=[digest(data)]
    )
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_an_unknown_upload(v2, repository):
    for upload in ("6cb64b8a-9378-4e33-9ab1-b780fab8a9e9", "junk"):
        answer = v2.patch(f"/v2/{repository}/blobs/uploads/{upload}", data=b"x")
        assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_missing_repository(v2, name):
    answer = v2.post(f"/v2/{name}/blobs/uploads/")
    assert (answer.status_code, error_code(answer)) == (404, "NAME_UNKNOWN")


def test_a_broken_connection_leaves_the_acknowledged_bytes(registry, v2, repository, data):
    location = v2.append(v2.start_upload(repository), data[:10_000], 0).headers["Location"]
    with Append(registry, v2, location, 10_000, 40_000) as broken:
        broken.send(data[10_000:30_000])
    assert v2.get(location).headers["Range"] == "0-9999"
    location = v2.append(location, data[10_000:], 10_000).headers["Location"]
    assert v2.finish(location, digest(data)).status_code == 201


class Append:
    """A PATCH whose body is sent by hand, over its own connection."""

    def __init__(self, registry, v2, location, start, size):
        self.socket = socket.create_connection(("127.0.0.1", registry.port))
        target = urlsplit(location)
        path = target.path + (f"?{target.query}" if target.query else "")
        self.socket.sendall(
            f"PATCH {path} HTTP/1.1\r\nHost: {registry.host}\r\n"
            f"Authorization: {_basic_auth_str(*v2.session.auth)}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n"
            f"Content-Range: {start}-{start + size - 1}\r\n\r\n".encode()
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def status(self):
        """The status of the answer."""
        return int(self.socket.recv(65536).split(b" ", 2)[1])


def test_two_writers_at_one_offset_and_no_third(registry, v2, repository, data):
    location = v2.start_upload(repository)
    bodies = [secrets.token_bytes(10_000) for _ in range(3)]
    writers = [Append(registry, v2, location, 0, 10_000) for _ in bodies]
    for writer, body in zip(writers, bodies, strict=True):
        writer.send(body[:5000])
    # All three stay unfinished, so the one that answers is the one too many.
    ready, _, _ = select.select([writer.socket for writer in writers], [], [], 60)
    assert len(ready) == 1
    third = next(writer for writer in writers if writer.socket is ready[0])
    assert third.status() == 429

    winner, loser = (number for number, writer in enumerate(writers) if writer is not third)
    writers[winner].send(bodies[winner][5000:])
    assert writers[winner].status() == 202
    writers[loser].send(bodies[loser][5000:])
    assert writers[loser].status() == 416
    for writer in writers:
        writer.socket.close()
    assert v2.finish(location, digest(bodies[winner])).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{digest(bodies[winner])}").content == bodies[winner]


def test_a_location_with_a_query_goes_on(v2, repository, data):
    # Whatever the Location holds, the digest is one more parameter of it.
    location = v2.start_upload(repository)
    answer = v2.put(
        with_query(with_query(location, "unknown", "1"), "digest", digest(data)), data=data
    )
    assert answer.status_code == 201
