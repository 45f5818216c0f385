"""crane, unmodified: copy, append, index, list, validate, delete."""

import json
import tarfile

import pytest

from support.api import tags
from support.images import OCI_INDEX, image, index
from support.program import Program
from support.tools import environment, tool


@pytest.fixture
def crane(tmp_path, registry):
    env = environment(tmp_path, DOCKER_CONFIG=tmp_path / "docker")
    client = Program(tool("crane"), env=env, cwd=tmp_path)
    client(
        "auth", "login", registry.host, "-u", "AWS", "--password-stdin", stdin=registry.password()
    )
    return client


def test_pull_push_and_validate(crane, v2, ecr, registry, repository, second_repository):
    made = image()
    v2.push(repository, made, "1")
    source, target = f"{registry.host}/{repository}", f"{registry.host}/{second_repository}"
    crane("pull", "--format", "oci", f"{source}:1", "layout")
    crane("push", "layout", f"{target}:2")
    assert tags(ecr, second_repository) == {"2": made.digest}
    for reference in (f"{target}:2", f"{target}@{made.digest}"):
        assert crane("digest", reference).strip() == made.digest
        assert crane("manifest", reference).encode().strip() == made.manifest
        crane("validate", "--remote", reference)


def test_append_to_nothing(crane, ecr, registry, repository, hello, tmp_path):
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.add(hello / "hello", "hello")
    crane(
        "append",
        "--oci-empty-base",
        "-f",
        tmp_path / "layer.tar",
        "-t",
        f"{registry.host}/{repository}:1",
    )
    crane(
        "mutate",
        "--cmd",
        "/hello",
        "-t",
        f"{registry.host}/{repository}:2",
        f"{registry.host}/{repository}:1",
    )
    assert set(tags(ecr, repository)) == {"1", "2"}
    listed = crane("export", f"{registry.host}/{repository}:2", "out.tar")
    assert listed == ""
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.extractfile("hello").read() == (hello / "hello").read_bytes()


def test_copy_and_several_platforms(crane, v2, ecr, registry, repository, second_repository):
    made = index()
    v2.push(repository, made, "all")
    source, target = f"{registry.host}/{repository}", f"{registry.host}/{second_repository}"
    crane("copy", f"{source}:all", f"{target}:all")
    assert tags(ecr, second_repository) == {"all": made.digest}
    crane(
        "index",
        "append",
        "-m",
        f"{source}@{made.children[0].digest}",
        "-m",
        f"{source}@{made.children[1].digest}",
        "-t",
        f"{source}:made",
    )
    seen = json.loads(crane("manifest", f"{source}:made"))
    assert seen["mediaType"] == OCI_INDEX
    assert [it["digest"] for it in seen["manifests"]] == [it.digest for it in made.children]
    assert (
        crane("digest", "--platform", "linux/arm64", f"{source}:made").strip()
        == made.children[1].digest
    )


def test_lists_and_deletes(crane, v2, ecr, registry, repository):
    made = image()
    v2.push(repository, made, "1")
    crane("tag", f"{registry.host}/{repository}:1", "2")
    assert crane("ls", f"{registry.host}/{repository}").split() == ["1", "2"]
    assert repository in crane("catalog", registry.host).split()
    crane("delete", f"{registry.host}/{repository}:1")
    assert tags(ecr, repository) == {"2": made.digest}
    crane("delete", f"{registry.host}/{repository}@{made.digest}")
    assert tags(ecr, repository) == {}
    crane.fails("manifest", f"{registry.host}/{repository}:2")


def test_a_blob_by_its_digest(crane, v2, registry, repository):
    blob = v2.push_blob(repository, b"a blob in text " + repository.encode())
    assert crane("blob", f"{registry.host}/{repository}@{blob}") == "a blob in text " + repository
