"""Attacks by patterns that users write (attack 31): their cost is at most pattern times text."""

import pytest

from support.api import refused
from support.images import image
from support.policies import allow, policy, statement
from support.server import OTHER_ACCOUNT

# What a matcher that tries every way would not end with before the sun does.
STARS = "*a" * 2_000 + "b"
TEXT = "a" * 8_000


@pytest.mark.parametrize("operator", ["StringLike", "StringNotLike"])
def test_31_a_policy_of_stars(ecr, v2, other_v2, repository, operator):
    v2.push(repository, image(), "1")
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=allow(
            OTHER_ACCOUNT,
            "ecr:BatchGetImage",
            condition={operator: {"aws:UserAgent": STARS}},
        ),
    )
    path = f"/v2/{repository}/manifests/1"

    def status(agent):
        return other_v2.get(path, headers={"Accept": "*/*", "User-Agent": agent}).status_code

    expected = (403, 200) if operator == "StringLike" else (200, 403)
    assert (status(TEXT), status(f"{TEXT}b")) == expected


def test_31_actions_and_resources_of_stars(ecr, v2, other_v2, repository):
    v2.push(repository, image(), "1")
    stars = "*a" * 700
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=policy(
            statement("Allow", {"AWS": OTHER_ACCOUNT}, [f"ecr:{stars}", "ecr:*?*?*?*?*Image*"]),
            statement("Deny", {"AWS": OTHER_ACCOUNT}, [f"ecr:{stars}b"]),
        ),
    )
    assert other_v2.get_manifest(repository, "1").status_code == 200


@pytest.mark.parametrize("stars", ["*a*a*a*b", "***", "*" * 128, "a" * 129, "(a+)+$", "[a-z]{9}"])
def test_31_filters_have_few_stars(raw_ecr, repository, stars):
    with refused("InvalidParameterException"):
        raw_ecr.put_image_tag_mutability(
            repositoryName=repository,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": stars}],
        )


def test_31_filters_on_the_longest_tag(ecr, v2, repository):
    made = image()
    v2.push(repository, made)
    ecr.put_image_tag_mutability(
        repositoryName=repository,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[
            {"filterType": "WILDCARD", "filter": f"*{'a' * count}*b"} for count in range(60, 65)
        ],
    )
    tag = "a" * 128
    assert v2.put_manifest(repository, tag, made).status_code == 201
    assert v2.put_manifest(repository, tag[:-1] + "b", made).status_code == 201
