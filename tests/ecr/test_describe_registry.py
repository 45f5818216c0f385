"""DescribeRegistry, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRegistry.html
"""

from support.server import ACCOUNT, OTHER_ACCOUNT


def test_own_registry_without_replication(ecr, other_account):
    for client, account in ((ecr, ACCOUNT), (other_account, OTHER_ACCOUNT)):
        answer = client.describe_registry()
        assert answer["registryId"] == account
        assert answer["replicationConfiguration"] == {"rules": []}
