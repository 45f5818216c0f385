"""GetRepositoryPolicy, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetRepositoryPolicy.html
"""

import json

from support.api import no_repository, refused
from support.policies import allow
from support.server import ACCOUNT, OTHER_ACCOUNT


def test_there_is_none_at_first(ecr, repository):
    with refused(
        "RepositoryPolicyNotFoundException",
        f"Repository policy does not exist for the repository with name '{repository}' in the "
        f"registry with id '{ACCOUNT}'",
    ):
        ecr.get_repository_policy(repositoryName=repository)


def test_what_was_set(ecr, repository):
    text = allow(OTHER_ACCOUNT, "ecr:BatchGetImage")
    was_set = ecr.set_repository_policy(repositoryName=repository, policyText=text)
    answer = ecr.get_repository_policy(repositoryName=repository)
    assert (answer["registryId"], answer["repositoryName"]) == (ACCOUNT, repository)
    assert answer["policyText"] == was_set["policyText"]
    assert json.loads(answer["policyText"]) == json.loads(text)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.get_repository_policy(repositoryName=name)


def test_another_account_is_denied(other_account, repository):
    with refused("AccessDeniedException"):
        other_account.get_repository_policy(registryId=ACCOUNT, repositoryName=repository)
