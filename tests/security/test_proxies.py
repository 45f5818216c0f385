"""Attacks by headers that proxies set (attack 35)."""

import pytest

from support.images import image
from support.policies import allow
from support.server import OTHER_ACCOUNT, free_port
from support.v2 import V2

SPOOFED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Real-IP": "203.0.113.7",
    "Forwarded": "for=203.0.113.7;proto=https;host=evil.example",
}


def test_35_no_url_is_built_from_headers(registry, v2, nobody_v2, repository):
    for answer in (
        nobody_v2.get("/v2/", headers=SPOOFED),
        v2.post(f"/v2/{repository}/blobs/uploads/", headers=SPOOFED),
        v2.get(f"/v2/{repository}/tags/list?n=1", headers=SPOOFED),
    ):
        assert "evil.example" not in str(answer.headers) + answer.text
        assert "203.0.113.7" not in str(answer.headers) + answer.text


def test_35_a_host_that_names_nothing(registry, repository):
    v2 = V2(f"http://127.0.0.1:{registry.port}", registry.password(), host="evil.example")
    answer = v2.post(f"/v2/{repository}/blobs/uploads/")
    assert "evil.example" not in answer.headers.get("Location", "")
    challenge = V2(f"http://127.0.0.1:{registry.port}", host="evil.example").get("/v2/")
    assert "evil.example" not in challenge.headers["Www-Authenticate"]


@pytest.mark.parametrize(
    "condition",
    [{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"Bool": {"aws:SecureTransport": "true"}}],
)
def test_35_a_stranger_cannot_say_where_he_is(ecr, v2, other_v2, repository, condition):
    v2.push(repository, image(), "1")
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=allow(OTHER_ACCOUNT, "ecr:BatchGetImage", condition=condition),
    )
    answer = other_v2.get(f"/v2/{repository}/manifests/1", headers={"Accept": "*/*", **SPOOFED})
    assert answer.status_code == 403


def test_35_a_trusted_proxy_can(fresh_registry):
    """The other way round: what a configured proxy says is what conditions see."""
    port = free_port()
    registry = fresh_registry(
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\ntrusted_proxies = ["127.0.0.0/8"]\n',
        port=port,
    )
    ecr = registry.client()
    ecr.create_repository(repositoryName="app")
    V2(registry.url, registry.password()).push("app", image(), "1")
    ecr.set_repository_policy(
        repositoryName="app",
        policyText=allow(
            OTHER_ACCOUNT,
            "ecr:BatchGetImage",
            condition={
                "IpAddress": {"aws:SourceIp": "203.0.113.0/24"},
                "Bool": {"aws:SecureTransport": "true"},
            },
        ),
    )
    stranger = V2(registry.url, registry.password(OTHER_ACCOUNT))
    path, accept = "/v2/app/manifests/1", {"Accept": "*/*"}
    assert stranger.get(path, headers=accept).status_code == 403
    seen = {**accept, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert stranger.get(path, headers=seen).status_code == 200
    # The nearest untrusted address counts, not the one the client wrote first.
    forged = {**seen, "X-Forwarded-For": "203.0.113.7, 198.51.100.1"}
    assert stranger.get(path, headers=forged).status_code == 403
