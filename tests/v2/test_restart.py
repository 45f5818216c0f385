"""What was acknowledged is there after a restart, whether the server ended well or not."""

import secrets

import pytest

from support.images import digest, image
from support.v2 import V2


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_upload_goes_on_where_it_was_acknowledged(fresh_registry, end):
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    parts = [secrets.token_bytes(100_000) for _ in range(3)]
    location = v2.start_upload("app")
    for number in (0, 1):
        location = v2.append(location, parts[number], number * 100_000).headers["Location"]

    getattr(registry, end)()
    registry.start()
    assert v2.get(location).headers["Range"] == "0-199999"
    answer = v2.append(location, parts[2], 200_000)
    assert answer.status_code == 202, answer.text
    whole = b"".join(parts)
    assert v2.finish(answer.headers["Location"], digest(whole)).status_code == 201
    assert v2.get(f"/v2/app/blobs/{digest(whole)}").content == whole


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_image_is_there_and_so_are_key_and_token(fresh_registry, end):
    registry = fresh_registry()
    ecr = registry.client()
    ecr.create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    made = image()
    v2.push("app", made, "1")
    getattr(registry, end)()
    registry.start()
    assert v2.get_manifest("app", "1").content == made.manifest
    for blob in made.blobs:
        assert v2.get(f"/v2/app/blobs/{blob.digest}").content == blob.data
    assert ecr.list_images(repositoryName="app")["imageIds"] == [
        {"imageDigest": made.digest, "imageTag": "1"}
    ]
    token = ecr.describe_repositories(maxResults=1)
    assert token["repositories"][0]["repositoryName"] == "app"


def test_a_page_token_survives_a_restart(fresh_registry):
    registry = fresh_registry()
    ecr = registry.client()
    for number in range(3):
        ecr.create_repository(repositoryName=f"app{number}")
    first = ecr.describe_repositories(maxResults=2)
    registry.restart()
    rest = ecr.describe_repositories(maxResults=2, nextToken=first["nextToken"])
    assert [it["repositoryName"] for it in rest["repositories"]] == ["app2"]
