"""PutAccountSetting, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutAccountSetting.html
"""

import pytest
from botocore.exceptions import ClientError

from support.server import OTHER_ACCOUNT, OTHER_REGION
from support.v2 import V2


@pytest.fixture
def away(registry):
    """A client of a registry whose settings only this file changes."""
    return registry.client(OTHER_ACCOUNT, OTHER_REGION)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("BASIC_SCAN_TYPE_VERSION", ["CLAIR", "AWS_NATIVE"]),
        ("REGISTRY_POLICY_SCOPE", ["V1", "V2"]),
        ("BLOB_MOUNTING", ["DISABLED", "ENABLED"]),
    ],
)
def test_a_setting_is_kept(away, ecr, name, values):
    before = ecr.get_account_setting(name=name)["value"]
    for value in values:
        answer = away.put_account_setting(name=name, value=value)
        assert (answer["name"], answer["value"]) == (name, value)
        assert away.get_account_setting(name=name)["value"] == value
        # Another account and region has its own.
        assert ecr.get_account_setting(name=name)["value"] == before


@pytest.mark.parametrize(
    ("name", "value"), [("COLOUR", "RED"), ("BLOB_MOUNTING", "SOMETIMES"), ("BLOB_MOUNTING", "V2")]
)
def test_unknown_names_and_values(away, name, value):
    with pytest.raises(ClientError) as error:
        away.put_account_setting(name=name, value=value)
    assert error.value.response["Error"]["Code"] in (
        "InvalidParameterException",
        "ValidationException",
    )


def test_without_mounting_a_mount_is_an_upload(registry, away, name):
    v2 = V2(
        f"http://127.0.0.1:{registry.port}",
        registry.password(OTHER_ACCOUNT, OTHER_REGION),
        host=registry.registry_host(OTHER_ACCOUNT, OTHER_REGION),
    )
    source, target = f"{name}/source", f"{name}/target"
    for repository in (source, target):
        away.create_repository(repositoryName=repository)
    mounted = v2.push_blob(source, b"mounted or not " + name.encode())
    uploads = f"/v2/{target}/blobs/uploads/?mount={mounted}&from={source}"
    away.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    answer = v2.post(uploads)
    assert answer.status_code == 202
    assert v2.delete(answer.headers["Location"]).status_code == 204
    away.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    answer = v2.post(uploads)
    assert answer.status_code == 201
    assert v2.head(f"/v2/{target}/blobs/{mounted}").status_code == 200
