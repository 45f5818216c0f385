"""DescribeRepositories, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html
"""

import pytest

from support.api import invalid, no_repository, refused
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION


@pytest.fixture(scope="module")
def few(registry):
    """A client whose registry has few repositories, so that all of them can be paged."""
    return registry.client(OTHER_ACCOUNT, OTHER_REGION)


def test_by_name_in_any_order(ecr, repository, second_repository):
    names = [second_repository, repository]
    found = ecr.describe_repositories(repositoryNames=names)["repositories"]
    assert sorted(it["repositoryName"] for it in found) == sorted(names)


def test_everything_terraform_reads_is_there(ecr, repository):
    found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    assert set(found) >= {
        "repositoryArn",
        "registryId",
        "repositoryName",
        "repositoryUri",
        "createdAt",
        "imageTagMutability",
        "imageScanningConfiguration",
        "encryptionConfiguration",
    }


def test_one_unknown_name_fails_all(ecr, repository, name):
    missing = f"{name}-missing"
    with refused("RepositoryNotFoundException", no_repository(missing)):
        ecr.describe_repositories(repositoryNames=[repository, missing])


def test_pages_hold_everything_once(few, name):
    names = [f"{name}/{number}" for number in range(7)]
    for one in names:
        few.create_repository(repositoryName=one)
    pages = list(
        few.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3})
    )
    assert all(len(page["repositories"]) == 3 for page in pages[:-1])
    assert 1 <= len(pages[-1]["repositories"]) <= 3
    assert "nextToken" not in pages[-1]
    found = [it["repositoryName"] for page in pages for it in page["repositories"]]
    assert len(found) == len(set(found))
    assert set(names) <= set(found)


def test_a_hundred_by_default(few, name):
    for number in range(101):
        few.create_repository(repositoryName=f"{name}/{number}")
    first = few.describe_repositories()
    assert len(first["repositories"]) == 100
    assert first["nextToken"]
    all_of_them = few.describe_repositories(maxResults=1000)
    assert len(all_of_them["repositories"]) > 100
    assert "nextToken" not in all_of_them


def test_a_page_is_at_most_a_thousand(ecr):
    with refused(
        "InvalidParameterException",
        invalid("maxResults") + "'Member must have value less than or equal to 1000'",
    ):
        ecr.describe_repositories(maxResults=1001)


def test_a_page_has_at_least_one(raw_ecr):
    with refused("InvalidParameterException", starts=invalid("maxResults")):
        raw_ecr.describe_repositories(maxResults=0)


def test_a_token_is_for_its_own_question(ecr, few, name):
    for number in range(2):
        few.create_repository(repositoryName=f"{name}/{number}")
    token = few.describe_repositories(maxResults=1)["nextToken"]
    for other in ("x", token[:-2], token + "AA"):
        with refused("InvalidParameterException"):
            few.describe_repositories(maxResults=1, nextToken=other)
    # The token of another registry opens nothing here.
    with refused("InvalidParameterException"):
        ecr.describe_repositories(maxResults=1, nextToken=token)
    with refused("InvalidParameterException"):
        few.list_images(repositoryName=f"{name}/0", nextToken=token)


def test_names_exclude_paging(ecr, repository):
    with refused("InvalidParameterException"):
        ecr.describe_repositories(repositoryNames=[repository], maxResults=10)


def test_at_most_a_hundred_names(ecr, repository):
    with refused("InvalidParameterException"):
        ecr.describe_repositories(
            repositoryNames=[f"{repository}{number}" for number in range(101)]
        )


def test_own_registry_by_id(ecr, repository):
    found = ecr.describe_repositories(registryId=ACCOUNT, repositoryNames=[repository])
    assert found["repositories"][0]["registryId"] == ACCOUNT


def test_another_account_needs_a_grant(ecr, other_account, repository):
    with refused("AccessDeniedException"):
        other_account.describe_repositories(registryId=ACCOUNT, repositoryNames=[repository])
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=f'''{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow",
            "Principal": {{"AWS": "{OTHER_ACCOUNT}"}}, "Action": "ecr:DescribeRepositories"}}]}}''',
    )
    found = other_account.describe_repositories(registryId=ACCOUNT, repositoryNames=[repository])
    assert found["repositories"][0]["repositoryName"] == repository
