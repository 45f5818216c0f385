"""regctl, unmodified: copy, artifacts, index, tags, blobs, delete."""

import json

import pytest

from support.api import tags
from support.images import image, index
from support.program import Program
from support.tools import environment, tool


@pytest.fixture
def regctl(tmp_path, registry):
    env = environment(
        tmp_path, REGCTL_CONFIG=tmp_path / "regctl.json", DOCKER_CONFIG=tmp_path / "docker"
    )
    client = Program(tool("regctl"), env=env, cwd=tmp_path)
    client("registry", "set", "--skip-check", "--tls", "disabled", registry.host)
    client(
        "registry", "login", "-u", "AWS", "--pass-stdin", registry.host, stdin=registry.password()
    )
    return client


def test_copies(regctl, v2, ecr, registry, repository, second_repository):
    made = index()
    v2.push(repository, made, "all")
    source, target = f"{registry.host}/{repository}", f"{registry.host}/{second_repository}"
    regctl("image", "copy", f"{source}:all", f"{target}:all")
    assert tags(ecr, second_repository) == {"all": made.digest}
    regctl("image", "copy", f"{target}@{made.digest}", "ocidir://layout:all")
    regctl("image", "copy", "ocidir://layout:all", f"{source}:back")
    assert tags(ecr, repository)["back"] == made.digest
    assert (
        regctl("image", "digest", "--platform", "linux/arm64", f"{source}:back").strip()
        == made.children[1].digest
    )
    regctl("image", "check-base", "--no-config", "--base", f"{source}:all", f"{source}:all")


def test_artifacts_and_referrers(regctl, v2, ecr, registry, repository):
    made = image()
    v2.push(repository, made, "1")
    reference = f"{registry.host}/{repository}:1"
    regctl(
        "artifact",
        "put",
        "--artifact-type",
        "application/spdx+json",
        "--subject",
        reference,
        stdin="{}",
    )
    seen = json.loads(regctl("artifact", "list", "--format", "{{json .}}", reference))
    assert [it["artifactType"] for it in seen["descriptors"]] == ["application/spdx+json"]
    assert regctl("artifact", "get", "--subject", reference) == "{}"
    assert set(tags(ecr, repository)) == {"1"}


def test_an_index(regctl, v2, ecr, registry, repository):
    made = index()
    name = f"{registry.host}/{repository}"
    for child, tag in zip(made.children, ("amd64", "arm64"), strict=True):
        v2.push(repository, child, tag)
    regctl("index", "create", f"{name}:all", "--ref", f"{name}:amd64", "--ref", f"{name}:arm64")
    seen = json.loads(regctl("manifest", "get", "--format", "raw-body", f"{name}:all"))
    assert [it["digest"] for it in seen["manifests"]] == [it.digest for it in made.children]


def test_tags_are_listed_and_deleted(regctl, v2, ecr, registry, repository):
    made = image()
    for tag in ("1", "2"):
        v2.push(repository, made, tag)
    name = f"{registry.host}/{repository}"
    assert regctl("tag", "ls", name).split() == ["1", "2"]
    assert repository in regctl("repo", "ls", registry.host).split()
    # The tag goes, the image stays: it has another one.
    regctl("tag", "rm", f"{name}:1")
    assert tags(ecr, repository) == {"2": made.digest}
    regctl("manifest", "rm", f"{name}@{made.digest}")
    assert tags(ecr, repository) == {}


def test_blobs_in_chunks(regctl, registry, repository):
    data = repository * 200_000
    regctl("registry", "set", "--blob-chunk", "1000000", "--blob-max", "1000000", registry.host)
    digest = regctl("blob", "put", f"{registry.host}/{repository}", stdin=data).strip()
    assert regctl("blob", "get", f"{registry.host}/{repository}", digest) == data
