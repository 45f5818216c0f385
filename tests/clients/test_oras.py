"""oras, unmodified: artifacts, referrers, blobs, copies, deletes."""

import json

import pytest

from support.api import tags
from support.images import image, index
from support.program import Program
from support.tools import environment, tool

PLAIN = ["--plain-http"]


@pytest.fixture
def oras(tmp_path, registry):
    env = environment(tmp_path, DOCKER_CONFIG=tmp_path / "docker")
    client = Program(tool("oras"), env=env, cwd=tmp_path)
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


def test_an_artifact(oras, ecr, registry, repository, tmp_path):
    (tmp_path / "note.txt").write_text("a note")
    reference = f"{registry.host}/{repository}:note"
    oras(
        "push",
        *PLAIN,
        "--artifact-type",
        "application/vnd.example.note",
        reference,
        "note.txt:text/plain",
    )
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert details["artifactMediaType"] == "application/vnd.example.note"
    (tmp_path / "note.txt").unlink()
    oras("pull", *PLAIN, reference)
    assert (tmp_path / "note.txt").read_text() == "a note"
    (tmp_path / "note.txt").unlink()
    oras("pull", *PLAIN, f"{registry.host}/{repository}@{details['imageDigest']}")
    assert (tmp_path / "note.txt").read_text() == "a note"


def test_referrers(oras, v2, ecr, registry, repository, tmp_path):
    made = image()
    v2.push(repository, made, "1")
    reference = f"{registry.host}/{repository}:1"
    for kind in ("spdx", "cyclonedx"):
        (tmp_path / f"{kind}.json").write_text("{}")
        oras(
            "attach",
            *PLAIN,
            "--artifact-type",
            f"application/{kind}",
            reference,
            f"{kind}.json:application/json",
        )
    seen = json.loads(oras("discover", *PLAIN, "--format", "json", reference))
    assert sorted(it["artifactType"] for it in seen["referrers"]) == [
        "application/cyclonedx",
        "application/spdx",
    ]
    only = json.loads(
        oras(
            "discover", *PLAIN, "--artifact-type", "application/spdx", "--format", "json", reference
        )
    )
    assert [it["artifactType"] for it in only["referrers"]] == ["application/spdx"]
    listed = ecr.list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": made.digest}
    )
    assert len(listed["referrers"]) == 2
    # No fallback tag: the registry's own list was used.
    assert set(tags(ecr, repository)) == {"1"}


def test_a_copy_with_its_referrers(
    oras, v2, ecr, registry, repository, second_repository, tmp_path
):
    made = image()
    v2.push(repository, made, "1")
    (tmp_path / "sbom.json").write_text("{}")
    oras(
        "attach",
        *PLAIN,
        "--artifact-type",
        "application/spdx",
        f"{registry.host}/{repository}:1",
        "sbom.json",
    )
    oras(
        "cp",
        "-r",
        "--from-plain-http",
        "--to-plain-http",
        f"{registry.host}/{repository}:1",
        f"{registry.host}/{second_repository}:1",
    )
    assert tags(ecr, second_repository) == {"1": made.digest}
    listed = ecr.list_image_referrers(
        repositoryName=second_repository, subjectId={"imageDigest": made.digest}
    )
    assert len(listed["referrers"]) == 1


def test_several_tags_and_platforms(oras, v2, ecr, registry, repository):
    made = index()
    for child in made.children:
        v2.push(repository, child)
    oras(
        "manifest",
        "index",
        "create",
        *PLAIN,
        f"{registry.host}/{repository}:all,latest",
        made.children[0].digest,
        made.children[1].digest,
    )
    assert set(tags(ecr, repository)) == {"all", "latest"}
    oras("tag", *PLAIN, f"{registry.host}/{repository}:all", "third")
    assert sorted(oras("repo", "tags", *PLAIN, f"{registry.host}/{repository}").split()) == [
        "all",
        "latest",
        "third",
    ]
    assert repository in oras("repo", "ls", *PLAIN, registry.host).split()


def test_blobs(oras, registry, repository, tmp_path):
    (tmp_path / "blob").write_bytes(repository.encode() * 1000)
    said = oras("blob", "push", *PLAIN, "--descriptor", f"{registry.host}/{repository}", "blob")
    digest = json.loads(said)["digest"]
    oras("blob", "fetch", *PLAIN, "--output", "back", f"{registry.host}/{repository}@{digest}")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "blob").read_bytes()
    oras("blob", "delete", *PLAIN, "--force", f"{registry.host}/{repository}@{digest}")
    oras.fails(
        "blob", "fetch", *PLAIN, "--output", "again", f"{registry.host}/{repository}@{digest}"
    )


def test_delete(oras, v2, ecr, registry, repository):
    v2.push(repository, image(), "1")
    oras("manifest", "delete", *PLAIN, "--force", f"{registry.host}/{repository}:1")
    assert tags(ecr, repository) == {}
    oras.fails("manifest", "fetch", *PLAIN, f"{registry.host}/{repository}:1")
