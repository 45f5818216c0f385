"""buildah, unmodified: an image from nothing, and one from a real root file system."""

import pytest

from support.api import tags
from support.program import Program
from support.tools import debian, environment


@pytest.fixture
def buildah(tmp_path, registry):
    env = environment(
        tmp_path,
        XDG_RUNTIME_DIR=tmp_path,
        BUILDAH_ISOLATION="chroot",
        REGISTRY_AUTH_FILE=tmp_path / "auth.json",
    )
    client = Program(
        debian("buildah"),
        "--root",
        f"{tmp_path}/root",
        "--runroot",
        f"{tmp_path}/run",
        "--storage-driver",
        "vfs",
        env=env,
    )
    client(
        "login",
        "--tls-verify=false",
        "--username",
        "AWS",
        "--password-stdin",
        registry.host,
        stdin=registry.password(),
    )
    return client


def test_from_scratch(buildah, ecr, registry, repository, hello):
    reference = f"{registry.host}/{repository}:1"
    container = buildah("from", "scratch").strip()
    buildah("copy", container, hello / "hello", "/hello")
    buildah("config", "--cmd", "/hello", container)
    buildah("commit", "-q", container, "made")
    buildah("push", "-q", "--tls-verify=false", "made", f"docker://{reference}")
    digest = tags(ecr, repository)["1"]
    buildah("rmi", "-f", "made")
    for pulled in (reference, f"{registry.host}/{repository}@{digest}"):
        buildah("pull", "-q", "--tls-verify=false", f"docker://{pulled}")
    again = buildah("from", "--tls-verify=false", reference).strip()
    # It has no shell: the program itself is what runs.
    assert buildah("run", again, "/hello") == "hello from the image\n"


def test_a_real_root_file_system(buildah, ecr, registry, repository, rootfs):
    reference = f"{registry.host}/{repository}:bookworm"
    container = buildah("from", "scratch").strip()
    buildah("add", "-q", container, rootfs, "/", timeout=600)
    buildah("commit", "-q", container, "made", timeout=600)
    buildah(
        "push",
        "-q",
        "--tls-verify=false",
        "made",
        f"docker://{reference}",
        timeout=600,
    )
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert details["imageSizeInBytes"] > 30_000_000
    buildah("rmi", "-f", "-a")
    buildah("rm", "-a")
    again = buildah("from", "--tls-verify=false", reference, timeout=600).strip()
    said = buildah("run", again, "sh", "-c", "cat /etc/debian_version; python3 -c 'print(6 * 7)'")
    assert said.startswith("12.")
    assert said.endswith("42\n")


def test_several_platforms(buildah, ecr, registry, repository, hello):
    buildah("manifest", "create", "all")
    for architecture in ("amd64", "arm64"):
        container = buildah("from", "--arch", architecture, "scratch").strip()
        buildah("copy", container, hello / "hello", "/hello")
        buildah("config", "--arch", architecture, container)
        buildah("commit", "-q", "--manifest", "all", container)
    target = f"docker://{registry.host}/{repository}:all"
    buildah("manifest", "push", "--all", "--tls-verify=false", "all", target)
    found = ecr.list_images(repositoryName=repository)["imageIds"]
    assert len(found) == 3
