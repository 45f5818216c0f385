"""ListPullTimeUpdateExclusions, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListPullTimeUpdateExclusions.html
"""

import pytest

from support.api import refused
from support.server import OTHER_ACCOUNT, OTHER_REGION


@pytest.fixture
def away(registry):
    """A client of a registry whose exclusions only this file changes."""
    return registry.client(OTHER_ACCOUNT, OTHER_REGION)


def test_pages(away):
    assert away.list_pull_time_update_exclusions()["pullTimeUpdateExclusions"] == []
    arns = [f"arn:aws:iam::{OTHER_ACCOUNT}:role/r{number}" for number in range(5)]
    for arn in arns:
        away.register_pull_time_update_exclusion(principalArn=arn)
    found, token, pages = [], None, 0
    while pages == 0 or token:
        more = {"nextToken": token} if token else {}
        answer = away.list_pull_time_update_exclusions(maxResults=2, **more)
        found += answer["pullTimeUpdateExclusions"]
        token, pages = answer.get("nextToken"), pages + 1
    assert sorted(found) == arns
    assert pages == 3
    for arn in arns:
        away.deregister_pull_time_update_exclusion(principalArn=arn)


def test_a_page_has_a_limit(away):
    with refused("InvalidParameterException"):
        away.list_pull_time_update_exclusions(maxResults=1001)


def test_a_bad_token(away):
    with refused("InvalidParameterException"):
        away.list_pull_time_update_exclusions(nextToken="x")
