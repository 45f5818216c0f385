"""PutImageTagMutability, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageTagMutability.html
"""

import pytest

from support.api import invalid, no_repository, push, put_image, refused
from support.images import image
from support.server import ACCOUNT
from support.v2 import error_code


def filters(*values):
    return [{"filterType": "WILDCARD", "filter": value} for value in values]


def put(ecr, repository, mode, *values):
    more = {"imageTagMutabilityExclusionFilters": filters(*values)} if values else {}
    return ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability=mode, **more)


def test_the_answer_repeats_it(ecr, repository):
    answer = put(ecr, repository, "IMMUTABLE")
    assert (answer["registryId"], answer["repositoryName"]) == (ACCOUNT, repository)
    assert answer["imageTagMutability"] == "IMMUTABLE"
    assert "imageTagMutabilityExclusionFilters" not in answer
    answer = put(ecr, repository, "MUTABLE_WITH_EXCLUSION", "release-*", "v1")
    assert answer["imageTagMutabilityExclusionFilters"] == filters("release-*", "v1")
    found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    assert found["imageTagMutability"] == "MUTABLE_WITH_EXCLUSION"
    assert found["imageTagMutabilityExclusionFilters"] == filters("release-*", "v1")


def test_a_plain_mode_drops_the_filters(ecr, repository):
    put(ecr, repository, "IMMUTABLE_WITH_EXCLUSION", "dev-*")
    put(ecr, repository, "MUTABLE")
    found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    assert "imageTagMutabilityExclusionFilters" not in found


# The table of the documentation: which tags may move under which setting.
@pytest.mark.parametrize(
    ("mode", "values", "moving", "fixed"),
    [
        ("MUTABLE", (), ["dev-1", "latest"], []),
        ("IMMUTABLE", (), [], ["dev-1", "latest"]),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*",), ["dev-1", "dev-"], ["latest", "a-dev-1"]),
        ("MUTABLE_WITH_EXCLUSION", ("v*", "*-stable"), ["latest", "dev"], ["v1", "v", "a-stable"]),
        ("MUTABLE_WITH_EXCLUSION", ("a.c",), ["abc"], ["a.c"]),
    ],
)
def test_which_tags_may_move(ecr, v2, repository, mode, values, moving, fixed):
    first, second = image(), image()
    push(ecr, repository, first)
    push(ecr, repository, second)
    for tag in moving + fixed:
        put_image(ecr, repository, first, tag)
    put(ecr, repository, mode, *values)
    for tag in moving:
        put_image(ecr, repository, second, tag)
        assert v2.put_manifest(repository, tag, first).status_code == 201
    for tag in fixed:
        with refused("ImageTagAlreadyExistsException"):
            put_image(ecr, repository, second, tag)
        answer = v2.put_manifest(repository, tag, second)
        assert (answer.status_code, error_code(answer)) == (400, "TAG_INVALID")
        # The same digest again changes nothing, so the registry's plane lets it be.
        assert v2.put_manifest(repository, tag, first).status_code == 201


def test_it_concerns_later_pushes_only(ecr, repository, pushed):
    put(ecr, repository, "IMMUTABLE")
    found = ecr.list_images(repositoryName=repository)["imageIds"]
    assert found == [{"imageDigest": pushed.digest, "imageTag": "1"}]
    put(ecr, repository, "MUTABLE")
    push(ecr, repository, image(), "1")


@pytest.mark.parametrize("mode", ["IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"])
def test_an_exclusion_needs_filters(ecr, repository, mode):
    with refused(
        "InvalidParameterException",
        invalid("imageTagMutabilityExclusionFilters")
        + f"'ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as {mode}'",
    ):
        put(ecr, repository, mode)


@pytest.mark.parametrize("mode", ["IMMUTABLE", "MUTABLE"])
def test_filters_need_an_exclusion(ecr, repository, mode):
    with refused("InvalidParameterException"):
        put(ecr, repository, mode, "a*")


@pytest.mark.parametrize("bad", ["*a*b*", "a/b", "x" * 129])
def test_bad_filters_are_refused(ecr, repository, bad):
    with refused("InvalidParameterException"):
        put(ecr, repository, "MUTABLE_WITH_EXCLUSION", bad)


def test_an_unknown_mode_is_refused(ecr, repository):
    with refused(
        "InvalidParameterException",
        starts=invalid("imageTagMutability") + "'Member must satisfy enum value set: [",
    ):
        put(ecr, repository, "SOMETIMES")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        put(ecr, name, "IMMUTABLE")
