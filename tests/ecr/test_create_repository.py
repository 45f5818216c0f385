"""CreateRepository, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
"""

import datetime

import pytest

from support.api import invalid, refused
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, REGION

FILTER = [{"filterType": "WILDCARD", "filter": "dev-*"}]


def test_defaults(registry, ecr, name):
    before = datetime.datetime.now(datetime.UTC)
    repository = ecr.create_repository(repositoryName=name)["repository"]
    created = repository.pop("createdAt")
    assert abs(created - before) < datetime.timedelta(minutes=5)
    assert repository == {
        "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
        "registryId": ACCOUNT,
        "repositoryName": name,
        "repositoryUri": f"{registry.host}/{name}",
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


def test_what_was_asked_for_comes_back(ecr, name):
    asked = {
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": FILTER,
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }
    tags = [{"Key": "team", "Value": "shop"}, {"Key": "empty", "Value": ""}]
    made = ecr.create_repository(repositoryName=name, tags=tags, **asked)["repository"]
    assert {key: made[key] for key in asked} == asked
    assert ecr.describe_repositories(repositoryNames=[name])["repositories"] == [made]
    found = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    assert sorted(found, key=lambda tag: tag["Key"]) == sorted(tags, key=lambda tag: tag["Key"])


def test_a_name_is_taken_once(ecr, repository):
    with refused(
        "RepositoryAlreadyExistsException",
        f"The repository with name '{repository}' already exists in the registry with id '{ACCOUNT}'",
    ):
        ecr.create_repository(repositoryName=repository)


def test_accounts_and_regions_have_their_own_names(registry, repository):
    for account, region in ((OTHER_ACCOUNT, REGION), (ACCOUNT, OTHER_REGION)):
        client = registry.client(account, region)
        made = client.create_repository(repositoryName=repository)["repository"]
        assert made["registryId"] == account
        assert made["repositoryArn"] == f"arn:aws:ecr:{region}:{account}:repository/{repository}"
        assert made["repositoryUri"] == f"{registry.registry_host(account, region)}/{repository}"


@pytest.mark.parametrize(
    "bad",
    [
        "Upper",
        "a//b",
        "-a",
        "a-",
        "a___b",
        "a..b",
        "/a",
        "a/",
        "a b",
        "a:b",
        "ää",
        "..",
        "a/../b",
        "a_.b",
        "a\nb",
        "x" * 257,
    ],
)
def test_bad_names_are_refused(ecr, bad):
    with refused("InvalidParameterException", starts=invalid("repositoryName")):
        ecr.create_repository(repositoryName=bad)


@pytest.mark.parametrize(
    "good", ["a1", "a.b", "a_b", "a__b", "a---b", "1/2/3", "blobs/uploads", "manifests"]
)
def test_good_names_are_taken(registry, good):
    client = registry.client(OTHER_ACCOUNT)
    client.create_repository(repositoryName=good)
    client.delete_repository(repositoryName=good)


def test_the_longest_name(ecr, name):
    longest = name + "x" * (256 - len(name))
    ecr.create_repository(repositoryName=longest)
    assert ecr.describe_repositories(repositoryNames=[longest])["repositories"]


def test_a_name_is_needed(raw_ecr):
    with refused("InvalidParameterException", starts=invalid("repositoryName")):
        raw_ecr.create_repository()


def test_an_unknown_mutability_is_refused(ecr, name):
    with refused(
        "InvalidParameterException",
        starts=invalid("imageTagMutability") + "'Member must satisfy enum value set: [",
    ):
        ecr.create_repository(repositoryName=name, imageTagMutability="SOMETIMES")


@pytest.mark.parametrize("mode", ["IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"])
def test_an_exclusion_needs_filters(ecr, name, mode):
    with refused(
        "InvalidParameterException",
        invalid("imageTagMutabilityExclusionFilters")
        + f"'ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as {mode}'",
    ):
        ecr.create_repository(repositoryName=name, imageTagMutability=mode)


@pytest.mark.parametrize("mode", ["IMMUTABLE", "MUTABLE"])
def test_filters_need_an_exclusion(ecr, name, mode):
    with refused("InvalidParameterException", starts=invalid("imageTagMutabilityExclusionFilters")):
        ecr.create_repository(
            repositoryName=name, imageTagMutability=mode, imageTagMutabilityExclusionFilters=FILTER
        )


@pytest.mark.parametrize("bad", ["a/b", "a b", "x" * 129, "*a*b*", "ä"])
def test_bad_filters_are_refused(ecr, name, bad):
    with refused("InvalidParameterException"):
        ecr.create_repository(
            repositoryName=name,
            imageTagMutability="MUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": bad}],
        )


def test_at_most_five_filters(ecr, name):
    filters = [{"filterType": "WILDCARD", "filter": f"f{number}"} for number in range(6)]
    with refused("InvalidParameterException"):
        ecr.create_repository(
            repositoryName=name,
            imageTagMutability="MUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=filters,
        )


def test_too_many_tags(ecr, name):
    tags = [{"Key": f"k{number}", "Value": "v"} for number in range(51)]
    with refused("TooManyTagsException"):
        ecr.create_repository(repositoryName=name, tags=tags)
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[name])


def test_a_bad_tag_makes_no_repository(ecr, name):
    with refused("InvalidTagParameterException"):
        ecr.create_repository(repositoryName=name, tags=[{"Key": "aws:mine", "Value": "v"}])
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[name])


def test_another_account_makes_none_here(other_account, ecr, name):
    with refused("AccessDeniedException"):
        other_account.create_repository(registryId=ACCOUNT, repositoryName=name)
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[name])


def test_both_planes_know_it(v2, ecr, name):
    ecr.create_repository(repositoryName=name)
    answer = v2.get(f"/v2/{name}/tags/list")
    assert answer.status_code == 200
    assert answer.json() == {"name": name, "tags": []}
