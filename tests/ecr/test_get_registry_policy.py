"""GetRegistryPolicy, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetRegistryPolicy.html
"""

import pytest

from support.api import refused
from support.policies import allow
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION


@pytest.fixture
def away(registry):
    """A client of a registry whose policy only this file changes."""
    return registry.client(OTHER_ACCOUNT, OTHER_REGION)


def test_there_is_none_at_first(ecr):
    with refused(
        "RegistryPolicyNotFoundException",
        f"Registry policy does not exist in the registry with id '{ACCOUNT}'",
    ):
        ecr.get_registry_policy()


def test_what_was_put(away):
    text = allow(
        ACCOUNT,
        "ecr:ReplicateImage",
        resource=f"arn:aws:ecr:{OTHER_REGION}:{OTHER_ACCOUNT}:repository/*",
    )
    was_put = away.put_registry_policy(policyText=text)
    answer = away.get_registry_policy()
    assert answer["registryId"] == OTHER_ACCOUNT
    assert answer["policyText"] == was_put["policyText"]
    away.delete_registry_policy()
