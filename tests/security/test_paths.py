"""Attacks by paths, names and digests (attacks 16, 17, 24 and 25)."""

import pytest
from requests.auth import _basic_auth_str

from support.api import refused
from support.images import image
from support.server import ACCOUNT
from support.v2 import raw

CHANGING = {"date", "x-amzn-requestid", "x-request-id"}


@pytest.fixture
def private(v2, repository):
    """An image of a repository that only its owner may read."""
    made = image(annotations={"marker": "for-the-owner-only"})
    v2.push(repository, made, "1")
    return made


ODD = [
    "/v2/{name}/manifests/1/",
    "/v2//{name}/manifests/1",
    "//v2/{name}/manifests/1",
    "/v2/{name}//manifests/1",
    "/v2/./{name}/manifests/1",
    "/v2/x/../{name}/manifests/1",
    "/v2/{escaped}/manifests/1",
    "/v2/{name}%2Fmanifests%2F1",
    "/v2/{name}/manifests/1%00",
    "/v2/{name}/manifests/1;x=y",
    "/v2/{name}/manifests/1?tag=1#x",
    "/V2/{name}/manifests/1",
    "/v2/{name}/MANIFESTS/1",
    "/v2/{name}/manifests/%31",
    "/v1/{name}/manifests/1",
    "/{name}/manifests/1",
    "/v2/_catalog/",
    "/v2/_catalog?n=1000",
    "/v2/-/layer/../../{name}/manifests/1",
    "/v2/-/layer/%2e%2e/%2e%2e/{name}/manifests/1",
    "http://localhost/v2/{name}/manifests/1",
    "/v2/{name}/blobs/{blob}",
    "/v2/{name}/blobs/{blob}/",
    "/v2/{name}/blobs//{blob}",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ODD)
def test_16_without_credentials_nothing_is_read(registry, repository, private, path, method):
    target = path.format(
        name=repository, escaped=repository.replace("/", "%2F"), blob=private.blobs[1].digest
    )
    for more in ({}, {"Range": "bytes=0-10"}):
        status, _, body = raw(registry.url, method, target, {"Host": registry.host, **more})
        assert 400 <= status < 500, (status, body)
        assert b"for-the-owner-only" not in body
        assert private.blobs[1].data not in body
        if target.startswith("/v2/"):
            assert status in (400, 401)


@pytest.mark.parametrize("path", ODD)
def test_16_a_stranger_reads_nothing_either(registry, other_v2, repository, private, path):
    target = path.format(
        name=repository, escaped=repository.replace("/", "%2F"), blob=private.blobs[1].digest
    )
    status, _, body = raw(
        registry.url,
        "GET",
        target,
        {"Host": registry.host, "Authorization": _basic_auth_str(*other_v2.session.auth)},
    )
    # A catalogue is no error, it only shows nothing that the caller may not see.
    assert repository.encode() not in body or status in (400, 403, 404)
    assert b"for-the-owner-only" not in body
    assert private.blobs[1].data not in body


def told(answer, name):
    """All that a caller could compare, with the name that it asked for taken out."""
    headers = {
        key.lower(): value for key, value in answer.headers.items() if key.lower() not in CHANGING
    }
    headers.pop("content-length", None)
    return answer.status_code, headers, answer.text.replace(name, "NAME")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "manifests/1"),
        ("HEAD", "manifests/1"),
        ("GET", "manifests/missing"),
        ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"),
        ("GET", "blobs/{blob}"),
        ("HEAD", "blobs/{blob}"),
        ("DELETE", "blobs/{blob}"),
        ("POST", "blobs/uploads/"),
        ("POST", "blobs/uploads/?mount={blob}"),
        ("GET", "blobs/uploads/6cb64b8a-9378-4e33-9ab1-b780fab8a9e9"),
        ("PATCH", "blobs/uploads/6cb64b8a-9378-4e33-9ab1-b780fab8a9e9"),
        ("PUT", "blobs/uploads/6cb64b8a-9378-4e33-9ab1-b780fab8a9e9?digest={blob}"),
        ("DELETE", "blobs/uploads/6cb64b8a-9378-4e33-9ab1-b780fab8a9e9"),
        ("GET", "tags/list"),
        ("GET", "referrers/{blob}"),
    ],
)
def test_17_a_stranger_cannot_tell_what_exists(other_v2, repository, private, method, path):
    missing = repository + "x"
    asked = path.format(blob=private.blobs[1].digest)
    one, other = (
        told(
            other_v2.request(
                method, f"/v2/{name}/{asked}", data=b"{}" if method == "PUT" else None
            ),
            name,
        )
        for name in (repository, missing)
    )
    assert one == other
    assert one[0] == 403


def test_17_neither_by_the_api(other_account, repository, private):
    calls = {
        "describe_images": {},
        "list_images": {},
        "batch_get_image": {"imageIds": [{"imageTag": "1"}]},
        "batch_delete_image": {"imageIds": [{"imageTag": "1"}]},
        "batch_check_layer_availability": {"layerDigests": [private.blobs[1].digest]},
        "get_download_url_for_layer": {"layerDigest": private.blobs[1].digest},
        "list_image_referrers": {"subjectId": {"imageDigest": private.digest}},
        "initiate_layer_upload": {},
        "get_repository_policy": {},
        "delete_repository": {"force": True},
        "put_image": {"imageManifest": private.text, "imageTag": "1"},
    }
    for method, parameters in calls.items():
        messages = set()
        for name in (repository, repository + "x"):
            with refused("AccessDeniedException") as answers:
                getattr(other_account, method)(
                    registryId=ACCOUNT, repositoryName=name, **parameters
                )
            messages.add(answers[0]["Error"]["Message"].replace(name, "NAME"))
        assert len(messages) == 1, method


DIGESTS = [
    "sha256:../../etc/passwd",
    "sha256:..%2f..%2fetc%2fpasswd",
    "sha256:" + "A" * 64,
    "sha256:" + "a" * 63,
    "sha256:" + "a" * 65,
    "sha256:" + "g" * 64,
    "sha512:" + "a" * 64,
    "sha256:" + "a" * 128,
    "md5:" + "a" * 32,
    "sha256",
    "sha256:",
    ":" + "a" * 64,
    "sha256:" + "a" * 64 + "%0a",
    "SHA256:" + "a" * 64,
]


@pytest.mark.parametrize("bad", DIGESTS)
def test_24_what_is_no_digest(registry, v2, repository, bad):
    authorization = {"Host": registry.host, "Authorization": _basic_auth_str(*v2.session.auth)}
    for method, path in (
        ("GET", f"/v2/{repository}/blobs/{bad}"),
        ("HEAD", f"/v2/{repository}/blobs/{bad}"),
        ("DELETE", f"/v2/{repository}/blobs/{bad}"),
        ("GET", f"/v2/{repository}/referrers/{bad}"),
        ("POST", f"/v2/{repository}/blobs/uploads/?digest={bad}"),
    ):
        status, _, _ = raw(
            registry.url, method, path, authorization, b"" if method == "POST" else None
        )
        assert status in (400, 404, 405), (method, path, status)
    location = v2.start_upload(repository)
    status, _, _ = raw(registry.url, "PUT", f"{location}?digest={bad}", authorization, b"data")
    assert status == 400


@pytest.mark.parametrize("bad", [it for it in DIGESTS if "%" not in it and ":" in it])
def test_24_neither_by_the_api(ecr, v2, repository, bad):
    location = v2.append(v2.start_upload(repository), b"data").headers["Location"]
    upload = location.split("?")[0].rsplit("/", 1)[1]
    with refused_as_a_parameter_or_layer(ecr):
        ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[bad])


def refused_as_a_parameter_or_layer(ecr):
    """Any exception that says so: some of these satisfy the model's loose pattern."""
    return pytest.raises(
        (
            ecr.exceptions.InvalidParameterException,
            ecr.exceptions.InvalidLayerException,
            ecr.exceptions.EmptyUploadException,
        )
    )


NAMES = [
    "..",
    "../etc",
    "a/../b",
    "a//b",
    "a/",
    "%2e%2e",
    "x" * 300,
    "%C3%A4",
    "a%00b",
    "a%0d%0ab",
    "A",
    "a_.b",
    "-",
    "_catalog",
    "a b",
]


@pytest.mark.parametrize("bad", NAMES)
def test_25_what_is_no_name(registry, v2, bad):
    authorization = {"Host": registry.host, "Authorization": _basic_auth_str(*v2.session.auth)}
    for method, path in (
        ("GET", f"/v2/{bad}/tags/list"),
        ("GET", f"/v2/{bad}/manifests/1"),
        ("POST", f"/v2/{bad}/blobs/uploads/"),
        ("GET", f"/v2/{bad}/blobs/sha256:{'a' * 64}"),
    ):
        if " " in path:
            path = path.replace(" ", "%20")
        status, _, body = raw(
            registry.url, method, path, authorization, b"" if method == "POST" else None
        )
        assert status in (400, 401, 404, 405), (path, status)
        assert b"root:" not in body


@pytest.mark.parametrize(
    "name",
    [
        "manifests/latest",
        "blobs/uploads",
        "tags/list",
        "a/blobs/b",
        "a/manifests/b/manifests",
        "v2/v2",
        "referrers/x",
    ],
)
def test_25_names_that_look_like_routes(ecr, v2, name, request):
    """A path is read from its end, so such a name is a name like any other."""
    prefix = request.getfixturevalue("registry").port
    name = f"r{prefix}/{name}"
    ecr.create_repository(repositoryName=name)
    made = image()
    v2.push(name, made, "1")
    assert v2.get_manifest(name, "1").content == made.manifest
    assert v2.get(f"/v2/{name}/tags/list").json() == {"name": name, "tags": ["1"]}
    assert v2.get(f"/v2/{name}/blobs/{made.blobs[1].digest}").content == made.blobs[1].data
    assert v2.get(f"/v2/{name}/referrers/{made.digest}").json()["manifests"] == []
    assert ecr.list_images(repositoryName=name)["imageIds"] == [
        {"imageDigest": made.digest, "imageTag": "1"}
    ]
    ecr.delete_repository(repositoryName=name, force=True)
