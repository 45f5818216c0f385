"""GetAuthorizationToken, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
"""

import base64
import datetime

import pytest

from support.api import refused
from support.log import keep_secret
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, REGION
from support.v2 import V2


def parts(data):
    """User name and password of an element of `authorizationData`."""
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":")
    return user, keep_secret(password)


def test_a_token_is_a_user_and_a_password_without_a_colon(ecr):
    data = ecr.get_authorization_token()["authorizationData"]
    assert len(data) == 1
    # The split of `parts` fails on a second colon, as the one of the AWS CLI does.
    user, password = parts(data[0])
    assert user == "AWS"
    assert password
    assert not any(letter.isspace() for letter in password)


def test_a_token_lasts_twelve_hours(ecr):
    before = datetime.datetime.now(datetime.UTC)
    answer = ecr.get_authorization_token()
    after = datetime.datetime.now(datetime.UTC)
    life = datetime.timedelta(hours=12)
    slack = datetime.timedelta(seconds=2)
    expires = answer["authorizationData"][0]["expiresAt"]
    assert before + life - slack <= expires <= after + life + slack
    parts(answer["authorizationData"][0])


def test_the_password_opens_the_registry(registry, ecr):
    _, password = parts(ecr.get_authorization_token()["authorizationData"][0])
    assert V2(registry.url, password).get("/v2/").status_code == 200


def test_the_endpoint_is_where_the_repositories_are(registry, ecr, repository):
    data = ecr.get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == registry.url
    found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    assert found["repositoryUri"] == f"{registry.host}/{repository}"


def test_an_element_for_each_registry_in_order(registry, ecr):
    answer = ecr.get_authorization_token(registryIds=[OTHER_ACCOUNT, ACCOUNT])
    endpoints = [data["proxyEndpoint"] for data in answer["authorizationData"]]
    assert endpoints == [
        f"{registry.scheme}://{registry.registry_host(OTHER_ACCOUNT)}",
        registry.url,
    ]
    for data in answer["authorizationData"]:
        parts(data)


def test_another_region_has_its_own_endpoint(registry):
    data = registry.client(region=OTHER_REGION).get_authorization_token()["authorizationData"][0]
    assert (
        data["proxyEndpoint"]
        == f"{registry.scheme}://{registry.registry_host(region=OTHER_REGION)}"
    )
    parts(data)


def test_a_token_of_another_region_is_refused_by_name(registry):
    password = registry.password(region=OTHER_REGION)
    answer = V2(registry.url, password).get("/v2/")
    assert answer.status_code in (401, 403)
    assert REGION in answer.text
    assert OTHER_REGION in answer.text


@pytest.mark.parametrize("bad", ["1234", "x" * 12, "1234567890123"])
def test_a_registry_id_is_twelve_digits(ecr, bad):
    with refused("InvalidParameterException"):
        ecr.get_authorization_token(registryIds=[bad])


def test_at_most_ten_registries(ecr):
    with refused("InvalidParameterException"):
        ecr.get_authorization_token(registryIds=[ACCOUNT] * 11)


def test_two_tokens_differ_and_both_work(registry):
    first, second = registry.password(), registry.password()
    assert first != second
    for password in (first, second):
        assert V2(registry.url, password).get("/v2/").status_code == 200


def test_a_changed_password_is_no_password(registry):
    password = registry.password()
    middle = len(password) // 2
    changed = password[:middle] + ("A" if password[middle] != "A" else "B") + password[middle + 1 :]
    assert V2(registry.url, changed).get("/v2/").status_code == 401
    assert V2(registry.url, password[:-4]).get("/v2/").status_code == 401
