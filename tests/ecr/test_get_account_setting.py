"""GetAccountSetting, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAccountSetting.html
"""

import pytest
from botocore.exceptions import ClientError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE"),
        ("REGISTRY_POLICY_SCOPE", "V2"),
        ("BLOB_MOUNTING", "ENABLED"),
    ],
)
def test_a_setting_always_has_a_value(ecr, name, value):
    answer = ecr.get_account_setting(name=name)
    assert (answer["name"], answer["value"]) == (name, value)


def test_an_unknown_setting(ecr):
    with pytest.raises(ClientError) as error:
        ecr.get_account_setting(name="COLOUR")
    assert error.value.response["Error"]["Code"] in (
        "InvalidParameterException",
        "ValidationException",
    )
