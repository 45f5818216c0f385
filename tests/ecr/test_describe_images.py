"""DescribeImages, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
"""

import datetime

import pytest

from support.api import no_repository, push, put_image, refused
from support.images import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, artifact, image, index, layer
from support.server import ACCOUNT


def describe(ecr, repository, **more):
    return ecr.describe_images(repositoryName=repository, **more)["imageDetails"]


def test_an_image(ecr, repository, pushed):
    details = describe(ecr, repository)[0]
    pushed_at = details.pop("imagePushedAt")
    assert abs(datetime.datetime.now(datetime.UTC) - pushed_at) < datetime.timedelta(minutes=5)
    size = details.pop("imageSizeInBytes")
    layers = sum(len(blob.data) for blob in pushed.blobs[1:])
    assert layers <= size <= layers + len(pushed.blobs[0].data) + len(pushed.manifest)
    assert details == {
        "registryId": ACCOUNT,
        "repositoryName": repository,
        "imageDigest": pushed.digest,
        "imageTags": ["1"],
        "imageManifestMediaType": OCI_MANIFEST,
        "artifactMediaType": OCI_CONFIG,
        "imageStatus": "ACTIVE",
    }


def test_an_untagged_image_has_no_tags(ecr, repository):
    push(ecr, repository, image())
    assert "imageTags" not in describe(ecr, repository)[0]


def test_the_size_of_an_index_is_its_largest_child(ecr, repository):
    small, large = image(architecture="arm64"), image([layer({"data": b"7" * 100_000}), layer()])
    push(ecr, repository, index([small, large]), "all")
    found = {it["imageDigest"]: it for it in describe(ecr, repository)}
    assert (
        found.pop(index([small, large]).digest)["imageSizeInBytes"]
        == found[large.digest]["imageSizeInBytes"]
    )


def test_an_index(ecr, repository):
    made = index()
    push(ecr, repository, made, "all")
    details = describe(ecr, repository, imageIds=[{"imageTag": "all"}])[0]
    assert details["imageManifestMediaType"] == OCI_INDEX
    assert details["imageDigest"] == made.digest


def test_an_artifact_with_its_subject(ecr, repository, pushed):
    sbom = artifact("application/spdx+json", subject=pushed)
    push(ecr, repository, sbom, "sbom")
    details = describe(ecr, repository, imageIds=[{"imageTag": "sbom"}])[0]
    assert details["artifactMediaType"] == "application/spdx+json"
    assert details["subjectManifestDigest"] == pushed.digest


def test_by_tag_and_by_digest(ecr, v2, repository, pushed):
    other = image()
    v2.push(repository, other, "2")
    ids = [{"imageTag": "1"}, {"imageDigest": other.digest}]
    found = {it["imageDigest"] for it in describe(ecr, repository, imageIds=ids)}
    assert found == {pushed.digest, other.digest}


def test_all_tags_are_told_for_one_of_them(ecr, repository, pushed):
    put_image(ecr, repository, pushed, "2")
    assert sorted(describe(ecr, repository, imageIds=[{"imageTag": "1"}])[0]["imageTags"]) == [
        "1",
        "2",
    ]


@pytest.mark.parametrize("missing", ["tag", "digest"])
def test_one_unknown_id_fails_all(ecr, repository, pushed, missing):
    digest = "sha256:" + "3" * 64
    identifier, text = {
        "tag": ({"imageTag": "nope"}, "{imageDigest:'null', imageTag:'nope'}"),
        "digest": ({"imageDigest": digest}, f"{{imageDigest:'{digest}', imageTag:'null'}}"),
    }[missing]
    with refused(
        "ImageNotFoundException",
        f"The image with imageId {text} does not exist within the repository with name "
        f"'{repository}' in the registry with id '{ACCOUNT}'",
    ):
        describe(ecr, repository, imageIds=[{"imageTag": "1"}, identifier])


def test_filters(ecr, repository, pushed):
    untagged = image()
    push(ecr, repository, untagged)
    for status, wanted in (
        ("TAGGED", {pushed.digest}),
        ("UNTAGGED", {untagged.digest}),
        ("ANY", {pushed.digest, untagged.digest}),
    ):
        found = {
            it["imageDigest"] for it in describe(ecr, repository, filter={"tagStatus": status})
        }
        assert found == wanted
    assert describe(ecr, repository, filter={"imageStatus": "ARCHIVED"}) == []
    assert len(describe(ecr, repository, filter={"imageStatus": "ACTIVE"})) == 2
    assert len(describe(ecr, repository, filter={"imageStatus": "ANY", "tagStatus": "TAGGED"})) == 1


def test_an_unknown_filter_is_refused(ecr, repository):
    with refused("InvalidParameterException"):
        describe(ecr, repository, filter={"tagStatus": "SOME"})
    with refused("InvalidParameterException"):
        describe(ecr, repository, filter={"imageStatus": "GONE"})


def test_pages_hold_everything_once(ecr, v2, repository):
    made = [image() for _ in range(7)]
    for number, one in enumerate(made):
        v2.push(repository, one, f"t{number}")
    pages = list(
        ecr.get_paginator("describe_images").paginate(
            repositoryName=repository, PaginationConfig={"PageSize": 3}
        )
    )
    assert [len(page["imageDetails"]) for page in pages] == [3, 3, 1]
    assert "nextToken" not in pages[-1]
    found = [it["imageDigest"] for page in pages for it in page["imageDetails"]]
    assert sorted(found) == sorted(it.digest for it in made)


def test_a_token_is_for_its_own_question(ecr, v2, repository, second_repository):
    for target in (repository, second_repository):
        for tag in ("1", "2"):
            v2.push(target, image(), tag)
    token = ecr.describe_images(repositoryName=repository, maxResults=1)["nextToken"]
    # Another size of the page is the same question.
    assert len(describe(ecr, repository, maxResults=5, nextToken=token)) == 1
    for question in (
        {"repositoryName": second_repository},
        {"repositoryName": repository, "filter": {"tagStatus": "TAGGED"}},
    ):
        with refused("InvalidParameterException"):
            ecr.describe_images(nextToken=token, **question)
    with refused("InvalidParameterException"):
        ecr.list_images(repositoryName=repository, nextToken=token)


def test_ids_exclude_paging(ecr, repository, pushed):
    for paging in ({"maxResults": 5}, {"nextToken": "x"}):
        with refused("InvalidParameterException"):
            describe(ecr, repository, imageIds=[{"imageTag": "1"}], **paging)


def test_a_page_has_a_limit(ecr, repository):
    with refused(
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: "
        "'Member must have value less than or equal to 1000'",
    ):
        describe(ecr, repository, maxResults=1001)


def test_an_empty_repository(ecr, repository):
    answer = ecr.describe_images(repositoryName=repository)
    assert answer["imageDetails"] == []
    assert "nextToken" not in answer


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        describe(ecr, name)
