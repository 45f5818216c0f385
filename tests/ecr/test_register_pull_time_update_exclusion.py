"""RegisterPullTimeUpdateExclusion, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RegisterPullTimeUpdateExclusion.html
"""

import datetime

import pytest

from support.api import refused
from support.server import ACCOUNT


def test_it_is_told_when(ecr, name):
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    answer = ecr.register_pull_time_update_exclusion(principalArn=arn)
    assert answer["principalArn"] == arn
    assert isinstance(answer["createdAt"], datetime.datetime)
    ecr.deregister_pull_time_update_exclusion(principalArn=arn)


def test_a_principal_is_registered_once(ecr, name):
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    ecr.register_pull_time_update_exclusion(principalArn=arn)
    with refused("ExclusionAlreadyExistsException"):
        ecr.register_pull_time_update_exclusion(principalArn=arn)
    ecr.deregister_pull_time_update_exclusion(principalArn=arn)


@pytest.mark.parametrize(
    "bad",
    [
        "junk",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/*",
        "arn:aws:iam::12345678901:role/a",
        "arn:aws:sts::123456789012:assumed-role/a/b",
        "arn:aws:iam::123456789012:role/" + "x" * 200,
    ],
)
def test_only_roles_and_users(ecr, bad):
    with refused("InvalidParameterException"):
        ecr.register_pull_time_update_exclusion(principalArn=bad)


def test_at_most_a_hundred(registry):
    client = registry.client("210987654321")
    arns = [f"arn:aws:iam::210987654321:role/r{number}" for number in range(100)]
    for arn in arns:
        client.register_pull_time_update_exclusion(principalArn=arn)
    with refused("LimitExceededException"):
        client.register_pull_time_update_exclusion(
            principalArn="arn:aws:iam::210987654321:role/more"
        )
    for arn in arns:
        client.deregister_pull_time_update_exclusion(principalArn=arn)
