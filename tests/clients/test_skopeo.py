"""skopeo, unmodified: copy, inspect, list, several platforms, delete."""

import json

import pytest

from support.api import tags
from support.images import DOCKER_MANIFEST, image, index, layer
from support.program import Program
from support.tools import check, debian, environment

PLAIN = ["--tls-verify=false"]


@pytest.fixture
def skopeo(tmp_path, registry):
    env = environment(tmp_path, XDG_RUNTIME_DIR=tmp_path, REGISTRY_AUTH_FILE=tmp_path / "auth.json")
    client = Program(debian("skopeo"), env=env, cwd=tmp_path)
    client(
        "login",
        *PLAIN,
        "--username",
        "AWS",
        "--password-stdin",
        registry.host,
        stdin=registry.password(),
    )
    return client


def test_there_and_back(skopeo, v2, ecr, registry, repository, second_repository):
    made = image()
    v2.push(repository, made, "1")
    source, target = (
        f"docker://{registry.host}/{name}" for name in (repository, second_repository)
    )
    skopeo("copy", "--src-tls-verify=false", f"{source}:1", "oci:layout:1")
    skopeo("copy", "--dest-tls-verify=false", "oci:layout:1", f"{target}:2")
    assert tags(ecr, second_repository) == {"2": made.digest}
    seen = json.loads(skopeo("inspect", *PLAIN, f"{target}@{made.digest}"))
    assert seen["Digest"] == made.digest
    assert seen["RepoTags"] == ["2"]


def test_between_repositories(skopeo, v2, ecr, registry, repository, second_repository):
    made = index()
    v2.push(repository, made, "all")
    skopeo(
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{registry.host}/{repository}:all",
        f"docker://{registry.host}/{second_repository}:all",
    )
    assert tags(ecr, second_repository) == {"all": made.digest}
    raw = skopeo("inspect", "--raw", *PLAIN, f"docker://{registry.host}/{second_repository}:all")
    assert raw.encode() == made.manifest


def test_another_format(skopeo, v2, ecr, registry, repository):
    v2.push(repository, image(), "oci")
    reference = f"docker://{registry.host}/{repository}"
    skopeo(
        "copy",
        "--format",
        "v2s2",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"{reference}:oci",
        f"{reference}:docker",
    )
    found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "docker"}])[
        "imageDetails"
    ]
    assert found[0]["imageManifestMediaType"] == DOCKER_MANIFEST


def test_lists_and_deletes(skopeo, v2, ecr, registry, repository):
    made = image()
    for tag in ("1", "2", "10"):
        v2.push(repository, made, tag)
    reference = f"docker://{registry.host}/{repository}"
    assert json.loads(skopeo("list-tags", *PLAIN, reference))["Tags"] == ["1", "10", "2"]
    skopeo("delete", *PLAIN, f"{reference}:1")
    # skopeo deletes the digest that the tag has.
    assert tags(ecr, repository) == {}
    assert "manifest unknown" in skopeo.fails("inspect", *PLAIN, f"{reference}:2").lower()


def test_sync(skopeo, v2, registry, repository, tmp_path):
    for tag in ("1", "2"):
        v2.push(repository, image(), tag)
    skopeo(
        "sync",
        "--src",
        "docker",
        "--dest",
        "dir",
        "--src-tls-verify=false",
        f"{registry.host}/{repository}",
        tmp_path / "mirror",
    )
    found = [path.parent.name for path in (tmp_path / "mirror").rglob("manifest.json")]
    assert len(found) == 2


def test_umoci_unpacks_what_came(skopeo, v2, registry, repository, tmp_path, hello):
    """umoci knows no registry; it reads what skopeo brought and unpacks the real image."""
    made = image([layer({"hello": (hello / "hello").read_bytes()})], Cmd=["/hello"])
    v2.push(repository, made, "1")
    skopeo(
        "copy", "--src-tls-verify=false", f"docker://{registry.host}/{repository}:1", "oci:layout:1"
    )
    check(
        debian("umoci"),
        "unpack",
        "--image",
        tmp_path / "layout:1",
        tmp_path / "bundle",
        env=environment(tmp_path),
    )
    assert (tmp_path / "bundle" / "rootfs" / "hello").read_bytes() == (hello / "hello").read_bytes()
