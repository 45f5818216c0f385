"""The links that GetDownloadUrlForLayer gives: `/v2/-/layer/<sealed>`."""

import pytest

from support.images import image
from support.log import keep_secret
from support.policies import PULL, allow
from support.server import ACCOUNT, OTHER_ACCOUNT
from support.v2 import V2


@pytest.fixture
def pushed(v2, repository):
    made = image()
    v2.push(repository, made, "1")
    return made


def link(client, repository, blob):
    answer = client.get_download_url_for_layer(
        registryId=ACCOUNT, repositoryName=repository, layerDigest=blob.digest
    )
    keep_secret(answer["downloadUrl"].rsplit("/", 1)[1])
    return answer["downloadUrl"]


def test_get_head_and_range(nobody_v2, ecr, repository, pushed):
    blob = pushed.blobs[1]
    url = link(ecr, repository, blob)
    assert nobody_v2.get(url).content == blob.data
    headed = nobody_v2.head(url)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["Content-Length"] == str(len(blob.data))
    part = nobody_v2.get(url, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, blob.data[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(blob.data)}"


def test_no_other_credential_is_read(registry, ecr, repository, pushed):
    url = link(ecr, repository, pushed.blobs[1])
    assert V2(registry.url, "not-a-password").get(url).status_code == 200


def test_only_reading(v2, ecr, repository, pushed):
    url = link(ecr, repository, pushed.blobs[1])
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        assert v2.request(method, url).status_code in (401, 404, 405)
    assert v2.get(url).status_code == 200


def test_a_changed_link_is_as_good_as_none(nobody_v2, ecr, repository, pushed):
    url = link(ecr, repository, pushed.blobs[1])
    challenge = nobody_v2.get("/v2/")
    sealed = url.rsplit("/", 1)[1]
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    for other in (changed, sealed[:-5], sealed + "AAAA", "", "junk", sealed.upper()):
        answer = nobody_v2.get(f"/v2/-/layer/{other}")
        assert answer.status_code == 401
        assert answer.content == challenge.content
        assert answer.headers["Www-Authenticate"] == challenge.headers["Www-Authenticate"]


def test_a_link_dies_with_the_grant(ecr, nobody_v2, other_account, repository, pushed):
    ecr.set_repository_policy(repositoryName=repository, policyText=allow(OTHER_ACCOUNT, *PULL))
    url = link(other_account, repository, pushed.blobs[1])
    assert nobody_v2.get(url).status_code == 200
    ecr.delete_repository_policy(repositoryName=repository)
    assert nobody_v2.get(url).status_code == 401
    ecr.set_repository_policy(repositoryName=repository, policyText=allow(OTHER_ACCOUNT, *PULL))
    assert nobody_v2.get(url).status_code == 200


def test_a_link_dies_with_its_repository(ecr, v2, nobody_v2, repository, pushed):
    url = link(ecr, repository, pushed.blobs[1])
    ecr.delete_repository(repositoryName=repository, force=True)
    assert nobody_v2.get(url).status_code == 401
    # A new repository of that name, even with the same bytes, is another one.
    ecr.create_repository(repositoryName=repository)
    v2.push(repository, pushed, "1")
    assert nobody_v2.get(url).status_code == 401


def test_a_dash_is_no_repository(v2, ecr):
    assert v2.get("/v2/-/tags/list").status_code in (400, 401, 404)
