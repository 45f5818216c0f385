"""docker, unmodified: login, build, push, pull by tag and digest, several platforms, delete."""

import json

import pytest

from support.api import tags
from support.images import DOCKER_LIST, DOCKER_MANIFEST


@pytest.fixture
def logged_in(docker, registry):
    """docker, logged in as `aws ecr get-login-password | docker login` does it."""
    said = docker(
        "login", "--username", "AWS", "--password-stdin", registry.host, stdin=registry.password()
    )
    assert "Login Succeeded" in said
    yield docker
    docker("logout", registry.host)


def test_a_wrong_password_is_no_login(docker, registry):
    said = docker.fails(
        "login", "--username", "AWS", "--password-stdin", registry.host, stdin="wrong"
    )
    assert "unauthorized" in said.lower() or "401" in said or "Not Authorized" in said


def test_without_login_nothing_is_pulled(docker, v2, registry, repository):
    said = docker.fails("pull", f"{registry.host}/{repository}:1")
    assert "no basic auth credentials" in said


def test_push_pull_and_run(logged_in, ecr, registry, repository, hello):
    docker, reference = logged_in, f"{registry.host}/{repository}:1"
    docker("build", "-q", "-t", reference, hello)
    docker("push", "-q", reference)
    digest = tags(ecr, repository)["1"]
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert details["imageManifestMediaType"] == DOCKER_MANIFEST

    for pulled in (reference, f"{registry.host}/{repository}@{digest}"):
        docker("rmi", "-f", reference)
        docker("pull", "-q", pulled)
        assert docker("run", "--rm", "--network", "none", pulled) == "hello from the image\n"
    # Pushing what is there is no error, and changes nothing.
    docker("tag", f"{registry.host}/{repository}@{digest}", reference)
    docker("push", "-q", reference)
    assert tags(ecr, repository) == {"1": digest}


def test_layers_are_mounted_from_the_repository_beside(
    logged_in, ecr, registry, repository, second_repository, hello
):
    docker = logged_in
    first, second = (f"{registry.host}/{name}:1" for name in (repository, second_repository))
    docker("build", "-q", "-t", first, hello)
    docker("push", "-q", first)
    docker("tag", first, second)
    said = docker("push", second)
    assert "Mounted from" in said
    assert tags(ecr, second_repository) == tags(ecr, repository)


def test_several_platforms(logged_in, ecr, registry, repository, hello):
    docker, name = logged_in, f"{registry.host}/{repository}"
    for architecture in ("amd64", "arm64"):
        docker(
            "build",
            "-q",
            "--build-arg",
            f"platform={architecture}",
            "--label",
            f"a={architecture}",
            "-t",
            f"{name}:{architecture}",
            hello,
        )
        docker("push", "-q", f"{name}:{architecture}")
    docker("manifest", "create", "--insecure", f"{name}:all", f"{name}:amd64", f"{name}:arm64")
    docker("manifest", "annotate", "--arch", "arm64", f"{name}:all", f"{name}:arm64")
    docker("manifest", "push", "--insecure", "--purge", f"{name}:all")
    seen = json.loads(docker("manifest", "inspect", "--insecure", f"{name}:all"))
    assert seen["mediaType"] == DOCKER_LIST
    assert sorted(it["platform"]["architecture"] for it in seen["manifests"]) == ["amd64", "arm64"]
    docker("pull", "-q", f"{name}:all")
    assert docker("run", "--rm", "--network", "none", f"{name}:all") == "hello from the image\n"


def test_what_the_api_deleted_is_not_pulled(logged_in, ecr, registry, repository, hello):
    docker, reference = logged_in, f"{registry.host}/{repository}:1"
    docker("build", "-q", "-t", reference, hello)
    docker("push", "-q", reference)
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "1"}])
    docker("rmi", "-f", reference)
    said = docker.fails("pull", reference)
    assert "not found" in said.lower() or "manifest unknown" in said.lower()


def test_an_immutable_tag_says_so(logged_in, ecr, registry, repository, hello):
    docker, reference = logged_in, f"{registry.host}/{repository}:1"
    docker("build", "-q", "-t", reference, hello)
    docker("push", "-q", reference)
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    docker("push", "-q", reference)
    docker("build", "-q", "--label", "other=yes", "-t", reference, hello)
    said = docker.fails("push", reference)
    assert "cannot be overwritten because the" in said


def test_a_missing_repository_says_so(logged_in, registry, name, hello):
    docker, reference = logged_in, f"{registry.host}/{name}:1"
    docker("build", "-q", "-t", reference, hello)
    assert "does not exist" in docker.fails("push", reference)


def test_a_real_root_file_system(logged_in, ecr, registry, repository, rootfs):
    docker, reference = logged_in, f"{registry.host}/{repository}:bookworm"
    docker("import", rootfs, reference, timeout=600)
    docker("push", "-q", reference, timeout=600)
    size = ecr.describe_images(repositoryName=repository)["imageDetails"][0]["imageSizeInBytes"]
    assert size > 30_000_000
    docker("rmi", "-f", reference)
    docker("pull", "-q", reference, timeout=600)
    said = docker(
        "run",
        "--rm",
        "--network",
        "none",
        reference,
        "sh",
        "-c",
        "dpkg --audit && dpkg-query -W base-files && python3 -c 'print(6 * 7)'",
    )
    assert "base-files" in said
    assert said.endswith("42\n")
    docker("rmi", "-f", reference)
