"""ListTagsForResource, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListTagsForResource.html
"""

import pytest

from support.api import invalid, no_repository, refused
from support.server import ACCOUNT, REGION


def test_none(ecr, repository):
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == []


def test_those_of_the_creation(ecr, name):
    made = ecr.create_repository(repositoryName=name, tags=[{"Key": "a", "Value": "1"}])[
        "repository"
    ]
    answer = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])
    assert answer["tags"] == [{"Key": "a", "Value": "1"}]


@pytest.mark.parametrize("bad", ["junk", "", "arn:aws:ecr:us-east-1:123456789012:repository/"])
def test_a_bad_arn_is_refused(raw_ecr, bad):
    with refused("InvalidParameterException", invalid("resourceArn") + "'Invalid ARN'"):
        raw_ecr.list_tags_for_resource(resourceArn=bad)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.list_tags_for_resource(resourceArn=f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}")


def test_another_account_is_denied(other_account, repository):
    with refused("AccessDeniedException"):
        other_account.list_tags_for_resource(
            resourceArn=f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
        )
