"""DeleteRegistryPolicy, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRegistryPolicy.html
"""

from support.api import refused
from support.policies import allow
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION


def test_the_deleted_text_is_told(registry):
    away = registry.client(OTHER_ACCOUNT, OTHER_REGION)
    text = away.put_registry_policy(
        policyText=allow(
            ACCOUNT,
            "ecr:ReplicateImage",
            resource=f"arn:aws:ecr:{OTHER_REGION}:{OTHER_ACCOUNT}:repository/*",
        )
    )["policyText"]
    answer = away.delete_registry_policy()
    assert (answer["registryId"], answer["policyText"]) == (OTHER_ACCOUNT, text)
    with refused("RegistryPolicyNotFoundException"):
        away.get_registry_policy()


def test_there_must_be_one(ecr):
    with refused(
        "RegistryPolicyNotFoundException",
        f"Registry policy does not exist in the registry with id '{ACCOUNT}'",
    ):
        ecr.delete_registry_policy()
