"""boto3, unmodified: with its own checks, retries and paginators, and TLS by our own CA."""

import base64

import boto3
import pytest

from support.images import image
from support.log import keep_secret
from support.server import ACCOUNT
from support.v2 import V2


def test_a_session_from_the_credentials_file(registry, monkeypatch, name):
    """What the start message says: the file in the data directory is a shared credentials file."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(registry.data / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", registry.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for profile, account in (("default", ACCOUNT), ("210987654321", "210987654321")):
        ecr = boto3.session.Session(profile_name=profile).client("ecr")
        made = ecr.create_repository(repositoryName=name)["repository"]
        assert made["registryId"] == account


def test_over_tls_with_our_own_ca(fresh_registry, tmp_path):
    registry = fresh_registry(tls=True)
    ca = tmp_path / "ca.pem"
    ca.write_text(certificates(registry.command("ca").stdout))
    ecr = registry.client(verify=str(ca))
    ecr.create_repository(repositoryName="app")
    made = image()
    v2 = V2(registry.url, password(ecr), verify=str(ca))
    v2.push("app", made, "1")
    got = ecr.batch_get_image(repositoryName="app", imageIds=[{"imageTag": "1"}])["images"]
    assert got[0]["imageManifest"] == made.text
    assert ecr.get_authorization_token()["authorizationData"][0]["proxyEndpoint"] == registry.url
    # Without that CA nobody believes it.
    with pytest.raises(Exception, match="(?i)certificate"):
        registry.client().describe_registry()


def test_every_paginator(ecr, v2, repository):
    for number in range(3):
        v2.push(repository, image(), str(number))
    for operation, member in (("list_images", "imageIds"), ("describe_images", "imageDetails")):
        pages = ecr.get_paginator(operation).paginate(
            repositoryName=repository, PaginationConfig={"PageSize": 1}
        )
        assert sum(len(page[member]) for page in pages) == 3


def certificates(text):
    """The PEM blocks in what `bonded ca` prints."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    assert begin in text, text
    return text[text.index(begin) : text.rindex(end) + len(end)] + "\n"


def password(ecr):
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return keep_secret(base64.b64decode(token).decode().split(":")[1])
