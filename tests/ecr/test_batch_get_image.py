"""BatchGetImage, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
"""

import json

import pytest

from support.api import no_repository, push, refused
from support.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    digest,
    image,
    index,
)
from support.server import ACCOUNT
from support.wait import until


def get(ecr, repository, *ids, accept=None):
    more = {"acceptedMediaTypes": accept} if accept else {}
    return ecr.batch_get_image(repositoryName=repository, imageIds=list(ids), **more)


def test_by_tag_by_digest_and_by_both(ecr, repository, pushed):
    for identifier in (
        {"imageTag": "1"},
        {"imageDigest": pushed.digest},
        {"imageDigest": pushed.digest, "imageTag": "1"},
    ):
        answer = get(ecr, repository, identifier)
        assert answer["failures"] == []
        found = answer["images"][0]
        assert found["imageId"] == {"imageDigest": pushed.digest, **identifier}
        assert found["imageManifest"] == pushed.text
        assert found["imageManifestMediaType"] == OCI_MANIFEST
        assert found["registryId"] == ACCOUNT
        assert found["repositoryName"] == repository


def test_what_docker_pushed_is_here(ecr, v2, repository):
    made = index(docker=True)
    v2.push(repository, made, "latest")
    answer = get(ecr, repository, {"imageTag": "latest"}, {"imageDigest": made.children[1].digest})
    assert [it["imageManifest"] for it in answer["images"]] == [made.text, made.children[1].text]


def test_failures_come_beside_what_is_found(ecr, repository, pushed):
    missing = "sha256:" + "1" * 64
    answer = get(ecr, repository, {"imageTag": "nope"}, {"imageTag": "1"}, {"imageDigest": missing})
    assert [it["imageId"]["imageTag"] for it in answer["images"]] == ["1"]
    assert answer["failures"] == [
        {
            "imageId": {"imageTag": "nope"},
            "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        },
        {
            "imageId": {"imageDigest": missing},
            "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        },
    ]


def test_an_empty_id(ecr, repository):
    answer = get(ecr, repository, {})
    assert answer["images"] == []
    assert answer["failures"][0]["failureCode"] == "MissingDigestAndTag"
    assert answer["failures"][0]["failureReason"] == (
        "Invalid request parameters: both tag and digest cannot be null"
    )


def test_a_bad_digest(ecr, repository):
    answer = get(ecr, repository, {"imageDigest": "junk"})
    assert answer["failures"] == [
        {
            "imageId": {"imageDigest": "junk"},
            "failureCode": "InvalidImageDigest",
            "failureReason": "Invalid request parameters: image digest should satisfy the regex "
            "'[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        }
    ]


def test_a_tag_and_a_digest_must_agree(ecr, repository, pushed):
    other = image()
    push(ecr, repository, other, "2")
    answer = get(ecr, repository, {"imageTag": "1", "imageDigest": other.digest})
    assert answer["images"] == []
    assert answer["failures"][0]["failureCode"] == "ImageTagDoesNotMatchDigest"


def test_the_same_id_twice_is_answered_once(ecr, repository, pushed):
    answer = get(ecr, repository, {"imageTag": "1"}, {"imageTag": "1"})
    assert len(answer["images"]) == 1


def test_oci_is_converted_for_old_clients(ecr, repository, pushed):
    found = get(ecr, repository, {"imageTag": "1"}, accept=[DOCKER_MANIFEST])["images"][0]
    assert found["imageManifestMediaType"] == DOCKER_MANIFEST
    document = json.loads(found["imageManifest"])
    assert document["mediaType"] == DOCKER_MANIFEST
    assert document["config"]["mediaType"] == DOCKER_CONFIG
    assert [it["mediaType"] for it in document["layers"]] == [DOCKER_LAYER]
    assert [it["digest"] for it in document["layers"]] == [pushed.blobs[1].digest]
    assert found["imageId"]["imageDigest"] == digest(found["imageManifest"].encode())


def test_docker_is_converted_for_oci_clients(ecr, v2, repository):
    made = image(docker=True)
    v2.push(repository, made, "1")
    found = get(ecr, repository, {"imageTag": "1"}, accept=[OCI_MANIFEST])["images"][0]
    assert found["imageManifestMediaType"] == OCI_MANIFEST
    document = json.loads(found["imageManifest"])
    assert document["config"]["mediaType"] == OCI_CONFIG
    assert [it["mediaType"] for it in document["layers"]] == [OCI_LAYER]
    assert found["imageId"]["imageDigest"] == digest(found["imageManifest"].encode())


def test_what_is_accepted_comes_as_it_is(ecr, repository, pushed):
    found = get(
        ecr, repository, {"imageTag": "1"}, accept=[DOCKER_MANIFEST, OCI_MANIFEST, OCI_INDEX]
    )
    assert found["images"][0]["imageManifest"] == pushed.text


def test_by_digest_nothing_is_converted(ecr, repository, pushed):
    found = get(ecr, repository, {"imageDigest": pushed.digest}, accept=[DOCKER_MANIFEST])
    for it in found["images"]:
        assert it["imageManifest"] == pushed.text


def test_a_pull_is_recorded(ecr, repository, pushed):
    assert (
        "lastRecordedPullTime"
        not in ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    )
    get(ecr, repository, {"imageTag": "1"})
    pulled = until(
        lambda: ecr.describe_images(repositoryName=repository)["imageDetails"][0].get(
            "lastRecordedPullTime"
        ),
        "the pull time is written",
    )
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert pulled >= details["imagePushedAt"]


def test_a_pull_of_the_other_plane_is_recorded(ecr, v2, repository, pushed):
    v2.get_manifest(repository, "1")
    until(
        lambda: ecr.describe_images(repositoryName=repository)["imageDetails"][0].get(
            "lastRecordedPullTime"
        ),
        "the pull time is written",
    )


def test_at_most_a_hundred_ids(ecr, repository):
    with refused("InvalidParameterException"):
        get(ecr, repository, *[{"imageTag": f"t{number}"} for number in range(101)])


def test_at_least_one_id(raw_ecr, repository):
    with refused("InvalidParameterException"):
        raw_ecr.batch_get_image(repositoryName=repository, imageIds=[])


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        get(ecr, name, {"imageTag": "1"})


@pytest.mark.parametrize("tag", ["a:b", "a/b"])
def test_a_bad_tag_is_a_failure(ecr, repository, tag):
    answer = get(ecr, repository, {"imageTag": tag})
    assert answer["images"] == []
    assert answer["failures"][0]["failureCode"] in ("InvalidImageTag", "ImageNotFound")
