"""podman, unmodified: login, build, push, pull, run, several platforms."""

import json

import pytest

from support.api import tags
from support.images import OCI_INDEX, OCI_MANIFEST, Blob, image, to_json
from support.program import Program
from support.tools import environment, tool

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


def test_several_platforms(logged_in, v2, registry, repository):
    podman, name = logged_in, f"{registry.host}/{repository}"
    podman("manifest", "create", "all")
    for architecture in ("amd64", "arm64"):
        podman("build", "-q", "--no-cache", "--arch", architecture, "-t", architecture, ".")
        podman("manifest", "add", "all", f"containers-storage:localhost/{architecture}")
    podman("manifest", "push", "--all", "--tls-verify=false", "all", f"docker://{name}:all")
    answer = v2.get_manifest(repository, "all")
    assert answer.headers["Content-Type"] == OCI_INDEX
    platforms = [it["platform"]["architecture"] for it in answer.json()["manifests"]]
    assert sorted(platforms) == ["amd64", "arm64"]
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


def test_a_real_root_file_system_not_compressed(
    logged_in, ecr, registry, repository, rootfs, tmp_path, docker_config
):
    """A layer of more than 100 MB on the wire: podman would compress it, so crane pushes it."""
    made = layout(tmp_path / "layout", rootfs)
    crane = Program(tool("crane"), env=environment(tmp_path, DOCKER_CONFIG=docker_config))
    reference = f"{registry.host}/{repository}:bookworm"
    crane("push", tmp_path / "layout", reference, timeout=600)
    assert tags(ecr, repository) == {"bookworm": made.digest}
    details = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert details["imageSizeInBytes"] > 100_000_000
    podman = logged_in
    podman("pull", "-q", "--tls-verify=false", reference, timeout=600)
    script = "cat /etc/debian_version; python3 -c 'print(6 * 7)'"
    said = podman("run", "--rm", *LIMITS, reference, "sh", "-c", script)
    assert said.startswith("12.")
    assert said.endswith("42\n")


def layout(folder, tar):
    """An OCI layout in `folder` whose only layer is a tar as it is. Returns its image."""
    data = tar.read_bytes()
    plain = Blob(data, "application/vnd.oci.image.layer.v1.tar")
    made = image([plain])
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for blob in [*made.blobs, Blob(made.manifest)]:
        (folder / "blobs" / "sha256" / blob.digest.split(":")[1]).write_bytes(blob.data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_bytes(
        to_json({"schemaVersion": 2, "manifests": [made.descriptor]})
    )
    return made
