"""Who may in: the challenge, and that every path without credentials answers the same.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
"""

import base64

import pytest

from support.images import image
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION
from support.v2 import V2, raw

PATHS = [
    "/v2/",
    "/v2/_catalog",
    "/v2/{repository}/tags/list",
    "/v2/{repository}/manifests/1",
    "/v2/{repository}/manifests/missing",
    "/v2/{repository}/blobs/sha256:" + "0" * 64,
    "/v2/{repository}-missing/manifests/1",
    "/v2/{repository}/blobs/uploads/6cb64b8a-9378-4e33-9ab1-b780fab8a9e9",
    "/v2/{repository}/referrers/sha256:" + "0" * 64,
    "/v2/no/such/route",
    "/v2/-/layer/sealed-by-nobody",
    "/v2/-/layer/",
]
# What tells one answer from another but says nothing: the time and the request's own id.
CHANGING = {"date", "x-amzn-requestid", "x-request-id"}


def seen(answer):
    """Everything of an answer that a caller could compare."""
    headers = {key.lower(): value for key, value in answer.headers.items()}
    return (
        answer.status_code,
        {key: headers[key] for key in headers.keys() - CHANGING},
        answer.content,
    )


def test_the_challenge(registry, nobody_v2):
    answer = nobody_v2.get("/v2/")
    assert answer.status_code == 401
    assert (
        answer.headers["Www-Authenticate"]
        == f'Basic realm="{registry.url}/",service="ecr.amazonaws.com"'
    )
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.strip() == "Not Authorized"


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_the_same(nobody_v2, v2, repository, path):
    v2.push(repository, image(), "1")
    wanted = seen(nobody_v2.get("/v2/"))
    assert wanted[0] == 401
    assert seen(nobody_v2.get(path.format(repository=repository))) == wanted


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_every_method_answers_the_same(nobody_v2, repository, method):
    wanted = seen(nobody_v2.get("/v2/"))
    for path in (f"/v2/{repository}/manifests/1", f"/v2/{repository}/blobs/uploads/", "/v2/"):
        assert seen(nobody_v2.request(method, path, data=b"some body")) == wanted


@pytest.mark.parametrize(
    "credentials",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"AWS").decode(),
        "Basic " + base64.b64encode(b"AWS:").decode(),
        "Basic " + base64.b64encode(b"AWS:junk").decode(),
        "Basic " + base64.b64encode(b"AWS:" + b"x" * 3000).decode(),
        "Basic " + base64.b64encode(b"AWS:\xff\xfe").decode(),
        "Bearer junk",
        "Digest a=b",
        "AWS4-HMAC-SHA256 Credential=a/b/c/ecr/aws4_request, SignedHeaders=host, Signature=0",
    ],
)
def test_bad_credentials_are_none(registry, nobody_v2, credentials):
    wanted = seen(nobody_v2.get("/v2/"))
    status, headers, body = raw(
        registry.url, "GET", "/v2/", {"Host": registry.host, "Authorization": credentials}
    )
    assert status == 401
    assert body == wanted[2]
    assert {key.lower() for key in headers} - CHANGING == set(wanted[1])


def test_the_user_name_is_aws(registry):
    password = registry.password()
    caller = V2(registry.url)
    caller.session.auth = ("somebody", password)
    assert caller.get("/v2/").status_code == 401


def test_every_answer_names_the_version(v2, repository):
    for path in (
        "/v2/",
        "/v2/_catalog",
        f"/v2/{repository}/tags/list",
        f"/v2/{repository}/manifests/missing",
    ):
        assert v2.get(path).headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_an_unknown_route_answers_json(v2, repository):
    answer = v2.get(f"/v2/{repository}/nothing/here")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"]


def test_a_host_names_the_registry(registry, other_account, name):
    other_account.create_repository(repositoryName=name)
    local = f"http://127.0.0.1:{registry.port}"
    password = registry.password(OTHER_ACCOUNT)
    theirs = V2(local, password, host=registry.registry_host(OTHER_ACCOUNT))
    assert theirs.get(f"/v2/{name}/tags/list").status_code == 200
    # Under the default name the same path means the main account's registry.
    assert V2(local, password).get(f"/v2/{name}/tags/list").status_code == 403
    nobody = V2(local, host=registry.registry_host(OTHER_ACCOUNT)).get("/v2/")
    assert (
        f'realm="http://{registry.registry_host(OTHER_ACCOUNT)}/"'
        in nobody.headers["Www-Authenticate"]
    )


def test_a_region_has_its_own_repositories(registry, v2, name):
    client = registry.client(region=OTHER_REGION)
    client.create_repository(repositoryName=name)
    away = V2(
        f"http://127.0.0.1:{registry.port}",
        registry.password(region=OTHER_REGION),
        host=registry.registry_host(region=OTHER_REGION),
    )
    made = image()
    away.push(name, made, "1")
    assert away.get_manifest(name, "1").content == made.manifest
    assert v2.get_manifest(name, "1").status_code == 404
    found = client.describe_images(repositoryName=name)["imageDetails"]
    assert [it["imageDigest"] for it in found] == [made.digest]
    assert found[0]["registryId"] == ACCOUNT
