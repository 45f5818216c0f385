"""TagResource, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_TagResource.html
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


def put(ecr, arn, **values):
    return ecr.tag_resource(
        resourceArn=arn, tags=[{"Key": key, "Value": value} for key, value in values.items()]
    )


def test_tags_are_merged(ecr, arn):
    answer = put(ecr, arn, team="shop", stage="dev")
    assert set(answer) == {"ResponseMetadata"}
    put(ecr, arn, stage="prod", empty="")
    assert tags(ecr, arn) == {"team": "shop", "stage": "prod", "empty": ""}


def test_keys_know_their_case(ecr, arn):
    put(ecr, arn, Team="a", team="b")
    assert tags(ecr, arn) == {"Team": "a", "team": "b"}


def test_at_most_fifty_after_the_merge(ecr, arn):
    put(ecr, arn, **{f"k{number}": "v" for number in range(50)})
    put(ecr, arn, k1="other")
    with refused("TooManyTagsException"):
        put(ecr, arn, one_more="v")
    assert len(tags(ecr, arn)) == 50


@pytest.mark.parametrize(("key", "value"), [("aws:mine", "v"), ("x" * 129, "v"), ("k", "x" * 257)])
def test_bad_tags_are_refused(ecr, arn, key, value):
    with refused("InvalidTagParameterException"):
        ecr.tag_resource(resourceArn=arn, tags=[{"Key": key, "Value": value}])
    assert tags(ecr, arn) == {}


def test_the_longest_tag(ecr, arn):
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "x" * 128, "Value": "y" * 256}])
    assert tags(ecr, arn) == {"x" * 128: "y" * 256}


@pytest.mark.parametrize(
    "bad", ["junk", "arn:aws:s3:::bucket", "arn:aws:ecr:us-east-1:123456789012:image/a"]
)
def test_a_bad_arn_is_refused(ecr, bad):
    with refused("InvalidParameterException", invalid("resourceArn") + "'Invalid ARN'"):
        put(ecr, bad, k="v")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        put(ecr, f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}", k="v")
