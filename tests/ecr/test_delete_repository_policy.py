"""DeleteRepositoryPolicy, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepositoryPolicy.html
"""

from support.api import no_repository, refused
from support.policies import allow
from support.server import ACCOUNT, OTHER_ACCOUNT


def test_the_deleted_text_is_told(ecr, repository):
    text = ecr.set_repository_policy(
        repositoryName=repository, policyText=allow(OTHER_ACCOUNT, "ecr:BatchGetImage")
    )["policyText"]
    answer = ecr.delete_repository_policy(repositoryName=repository)
    assert (answer["registryId"], answer["repositoryName"]) == (ACCOUNT, repository)
    assert answer["policyText"] == text
    with refused("RepositoryPolicyNotFoundException"):
        ecr.get_repository_policy(repositoryName=repository)


def test_there_must_be_one(ecr, repository):
    with refused(
        "RepositoryPolicyNotFoundException",
        f"Repository policy does not exist for the repository with name '{repository}' in the "
        f"registry with id '{ACCOUNT}'",
    ):
        ecr.delete_repository_policy(repositoryName=repository)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.delete_repository_policy(repositoryName=name)
