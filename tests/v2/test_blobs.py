"""Reading and deleting blobs.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs
"""

import secrets

import pytest

from support.images import digest, image
from support.v2 import error_code


@pytest.fixture
def data():
    """100,000 random bytes: several chunks of the sealed form, the last one not full."""
    return secrets.token_bytes(100_000)


def test_get_and_head(v2, repository, data):
    blob = v2.push_blob(repository, data)
    path = f"/v2/{repository}/blobs/{blob}"
    got, headed = v2.get(path), v2.head(path)
    assert (got.status_code, headed.status_code) == (200, 200)
    assert got.content == data
    assert headed.content == b""
    for answer in (got, headed):
        assert answer.headers["Docker-Content-Digest"] == blob
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=16383-16384", 16383, 16384),
        ("bytes=16384-32767", 16384, 32767),
        ("bytes=50000-", 50000, 99_999),
        ("bytes=-1", 99_999, 99_999),
        ("bytes=-500", 99_500, 99_999),
        ("bytes=99999-200000", 99_999, 99_999),
        ("bytes=-200000", 0, 99_999),
    ],
)
def test_a_range(v2, repository, data, asked, first, last):
    blob = v2.push_blob(repository, data)
    answer = v2.get(f"/v2/{repository}/blobs/{blob}", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == data[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert answer.headers["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=100000-", "bytes=200000-300000", "bytes=-0"])
def test_a_range_beyond_the_end(v2, repository, data, asked):
    blob = v2.push_blob(repository, data)
    answer = v2.get(f"/v2/{repository}/blobs/{blob}", headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(data)}"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=junk", "bytes=5-3"])
def test_what_is_no_range_is_ignored(v2, repository, data, asked):
    blob = v2.push_blob(repository, data)
    answer = v2.get(f"/v2/{repository}/blobs/{blob}", headers={"Range": asked})
    assert answer.status_code in (200, 416)
    if answer.status_code == 200:
        assert answer.content == data


def test_a_range_across_appends(v2, repository):
    parts = [secrets.token_bytes(20_000) for _ in range(4)]
    location = v2.start_upload(repository)
    for part in parts:
        location = v2.append(location, part).headers["Location"]
    whole = b"".join(parts)
    assert v2.finish(location, digest(whole)).status_code == 201
    answer = v2.get(
        f"/v2/{repository}/blobs/{digest(whole)}", headers={"Range": "bytes=19990-60009"}
    )
    assert answer.content == whole[19_990:60_010]


def test_what_has_not_changed(v2, repository, data):
    blob = v2.push_blob(repository, data)
    path = f"/v2/{repository}/blobs/{blob}"
    tag = v2.get(path).headers["ETag"]
    assert blob in tag
    for method in ("GET", "HEAD"):
        answer = v2.request(method, path, headers={"If-None-Match": tag})
        assert answer.status_code == 304
        assert answer.content == b""
    assert v2.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert v2.get(path, headers={"If-None-Match": f'"other", {tag}'}).status_code == 304


def test_a_range_of_what_changed_is_the_whole(v2, repository, data):
    blob = v2.push_blob(repository, data)
    path = f"/v2/{repository}/blobs/{blob}"
    tag = v2.get(path).headers["ETag"]
    assert v2.get(path, headers={"Range": "bytes=0-9", "If-Range": tag}).status_code == 206
    answer = v2.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (answer.status_code, len(answer.content)) == (200, len(data))


def test_a_blob_that_no_image_uses_is_readable(v2, repository, data):
    assert v2.get(f"/v2/{repository}/blobs/{v2.push_blob(repository, data)}").content == data


def test_an_empty_blob(v2, repository):
    blob = v2.push_blob(repository, b"")
    answer = v2.get(f"/v2/{repository}/blobs/{blob}")
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")


def test_sha512(v2, repository, data):
    blob = v2.push_blob(repository, data, "sha512")
    answer = v2.get(f"/v2/{repository}/blobs/{blob}")
    assert answer.content == data
    assert answer.headers["Docker-Content-Digest"] == blob


def test_a_missing_blob(v2, repository):
    path = f"/v2/{repository}/blobs/sha256:" + "7" * 64
    answer = v2.get(path)
    assert (answer.status_code, error_code(answer)) == (404, "BLOB_UNKNOWN")
    assert v2.head(path).status_code == 404


def test_a_missing_repository(v2, name):
    answer = v2.get(f"/v2/{name}/blobs/sha256:" + "7" * 64)
    assert (answer.status_code, error_code(answer)) == (404, "NAME_UNKNOWN")


def test_a_blob_belongs_to_its_repository(v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    assert v2.head(f"/v2/{second_repository}/blobs/{blob}").status_code == 404
    assert v2.get(f"/v2/{second_repository}/blobs/{blob}").status_code == 404


def test_an_unused_blob_is_deleted(v2, ecr, repository, data):
    blob = v2.push_blob(repository, data)
    path = f"/v2/{repository}/blobs/{blob}"
    assert v2.delete(path).status_code == 202
    assert v2.get(path).status_code == 404
    assert v2.delete(path).status_code == 404
    answer = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[blob])
    assert answer["layers"][0]["layerAvailability"] == "UNAVAILABLE"
    assert v2.push_blob(repository, data) == blob
    assert v2.get(path).content == data


def test_a_used_blob_stays(v2, repository):
    made = image()
    v2.push(repository, made, "1")
    for blob in made.blobs:
        answer = v2.delete(f"/v2/{repository}/blobs/{blob.digest}")
        assert (answer.status_code, error_code(answer)) == (405, "UNSUPPORTED")
        assert v2.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_a_deleted_mount_leaves_the_source(v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    mount = f"/v2/{second_repository}/blobs/uploads/?mount={blob}&from={repository}"
    assert v2.post(mount).status_code == 201
    assert v2.delete(f"/v2/{second_repository}/blobs/{blob}").status_code == 202
    assert v2.get(f"/v2/{repository}/blobs/{blob}").content == data
    assert v2.head(f"/v2/{second_repository}/blobs/{blob}").status_code == 404
