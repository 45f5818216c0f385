"""containerd's ctr, unmodified: push, pull by tag and digest, several platforms."""

import pytest

from support.api import tags
from support.images import image, index, layer


@pytest.fixture
def user(registry):
    """The flags that log in."""
    return ["--plain-http", "--user", f"AWS:{registry.password()}"]


def test_pull_by_tag_and_digest(ctr, v2, registry, user, repository, hello):
    made = image([layer({"hello": (hello / "hello").read_bytes()})], Cmd=["/hello"])
    v2.push(repository, made, "1")
    for reference in (
        f"{registry.host}/{repository}:1",
        f"{registry.host}/{repository}@{made.digest}",
    ):
        ctr("images", "pull", "--snapshotter", "native", *user, reference)
        assert made.digest in ctr("images", "ls", f"name=={reference}")
        said = ctr(
            "run",
            "--rm",
            "--snapshotter",
            "native",
            reference,
            f"hello-{reference[-5:].replace(':', '-')}",
        )
        assert said == "hello from the image\n"
        ctr("images", "rm", "--sync", reference)


def test_push(ctr, v2, ecr, registry, user, repository, second_repository):
    made = image()
    v2.push(repository, made, "1")
    source, target = f"{registry.host}/{repository}:1", f"{registry.host}/{second_repository}:2"
    ctr("images", "pull", "--snapshotter", "native", *user, source)
    ctr("images", "tag", source, target)
    ctr("images", "push", *user, target)
    assert tags(ecr, second_repository) == {"2": made.digest}


def test_all_platforms(ctr, v2, ecr, registry, user, repository, second_repository):
    made = index()
    v2.push(repository, made, "all")
    source, target = f"{registry.host}/{repository}:all", f"{registry.host}/{second_repository}:all"
    ctr("content", "fetch", "--all-platforms", *user, source)
    ctr("images", "tag", source, target)
    ctr("images", "push", *user, target)
    assert tags(ecr, second_repository) == {"all": made.digest}
    assert len(ecr.list_images(repositoryName=second_repository)["imageIds"]) == 3


def test_without_login(ctr, registry, repository):
    said = ctr.fails("images", "pull", "--plain-http", f"{registry.host}/{repository}:1")
    assert "401" in said or "authorization" in said.lower() or "basic" in said.lower()
