"""DeregisterPullTimeUpdateExclusion, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeregisterPullTimeUpdateExclusion.html
"""

from support.api import refused
from support.server import ACCOUNT


def test_it_is_gone(ecr, name):
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    ecr.register_pull_time_update_exclusion(principalArn=arn)
    assert ecr.deregister_pull_time_update_exclusion(principalArn=arn)["principalArn"] == arn
    assert (
        arn not in ecr.list_pull_time_update_exclusions(maxResults=1000)["pullTimeUpdateExclusions"]
    )
    with refused("ExclusionNotFoundException"):
        ecr.deregister_pull_time_update_exclusion(principalArn=arn)


def test_an_unknown_principal(ecr, name):
    with refused("ExclusionNotFoundException"):
        ecr.deregister_pull_time_update_exclusion(
            principalArn=f"arn:aws:iam::{ACCOUNT}:role/{name}"
        )
