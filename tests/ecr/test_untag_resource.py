"""UntagResource, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UntagResource.html
"""

import pytest

from support.api import invalid, no_repository, refused
from support.server import ACCOUNT, REGION


@pytest.fixture
def arn(repository):
    """The ARN of `repository`."""
    return f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"


def tags(ecr, arn):
    """The tags of a resource as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in ecr.list_tags_for_resource(resourceArn=arn)["tags"]}


def test_named_tags_go(ecr, arn):
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": key, "Value": "v"} for key in ("a", "b", "c")])
    answer = ecr.untag_resource(resourceArn=arn, tagKeys=["a", "c"])
    assert set(answer) == {"ResponseMetadata"}
    assert tags(ecr, arn) == {"b": "v"}


def test_unknown_keys_are_ignored(ecr, arn):
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "a", "Value": "v"}])
    for _ in range(2):
        ecr.untag_resource(resourceArn=arn, tagKeys=["A", "never"])
    assert tags(ecr, arn) == {"a": "v"}


def test_a_bad_arn_is_refused(ecr):
    with refused("InvalidParameterException", invalid("resourceArn") + "'Invalid ARN'"):
        ecr.untag_resource(resourceArn="junk", tagKeys=["a"])


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.untag_resource(
            resourceArn=f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}", tagKeys=["a"]
        )
