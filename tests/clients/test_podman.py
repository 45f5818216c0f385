"""podman, unmodified: login, build, push, pull, run, several platforms."""

import json

import pytest

from support.api import tags
from support.images import OCI_INDEX, OCI_MANIFEST

LIMITS = ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


@pytest.fixture
def logged_in(podman, registry):
    said = podman(
        "login",
        "--tls-verify=false",
        "--username",
        "AWS",
        "--password-stdin",
        registry.host,
        stdin=registry.password(),
    )
    assert "Login Succeeded" in said
    return podman


def test_push_pull_and_run(logged_in, ecr, registry, repository):
    podman, reference = logged_in, f"{registry.host}/{repository}:1"
    podman("build", "-q", "-t", reference, ".")
    podman("push", "-q", "--tls-verify=false", reference)
    digest = tags(ecr, repository)["1"]
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert details["imageManifestMediaType"] == OCI_MANIFEST
    for pulled in (reference, f"{registry.host}/{repository}@{digest}"):
        podman("rmi", "-f", "-a")
        podman("pull", "-q", "--tls-verify=false", pulled)
        assert podman("run", "--rm", *LIMITS, pulled) == "hello from the image\n"


def test_several_platforms(logged_in, ecr, registry, repository):
    podman, name = logged_in, f"{registry.host}/{repository}"
    podman("manifest", "create", "all")
    for architecture in ("amd64", "arm64"):
        podman("build", "-q", "--arch", architecture, "-t", architecture, ".")
        podman("manifest", "add", "all", f"containers-storage:localhost/{architecture}")
    podman("manifest", "push", "--all", "--tls-verify=false", "all", f"docker://{name}:all")
    details = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "all"}])[
        "imageDetails"
    ]
    assert details[0]["imageManifestMediaType"] == OCI_INDEX
    seen = json.loads(podman("manifest", "inspect", "--tls-verify=false", f"docker://{name}:all"))
    assert sorted(it["platform"]["architecture"] for it in seen["manifests"]) == ["amd64", "arm64"]
    podman("rmi", "-f", "-a")
    podman("pull", "-q", "--tls-verify=false", f"{name}:all")
    assert podman("run", "--rm", *LIMITS, f"{name}:all") == "hello from the image\n"


def test_search_by_listing_tags(logged_in, registry, repository):
    podman, name = logged_in, f"{registry.host}/{repository}"
    podman("build", "-q", "-t", f"{name}:1", ".")
    for tag in ("1", "2"):
        podman("tag", f"{name}:1", f"{name}:{tag}")
        podman("push", "-q", "--tls-verify=false", f"{name}:{tag}")
    said = podman("search", "--list-tags", "--tls-verify=false", "--format", "json", name)
    assert json.loads(said) == [{"Name": name, "Tags": ["1", "2"]}]


def test_without_login(podman, registry, repository):
    said = podman.fails("pull", "--tls-verify=false", f"{registry.host}/{repository}:1")
    assert "authentication required" in said.lower() or "unauthorized" in said.lower()
