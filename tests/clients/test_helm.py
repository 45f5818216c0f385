"""helm, unmodified: charts as artifacts."""

import pytest

from support.api import tags
from support.program import Program
from support.tools import environment, tool


@pytest.fixture
def helm(tmp_path, registry):
    client = Program(tool("helm"), env=environment(tmp_path), cwd=tmp_path)
    client(
        "registry",
        "login",
        "--plain-http",
        "--username",
        "AWS",
        "--password-stdin",
        registry.host,
        stdin=registry.password(),
    )
    return client


def test_a_chart_there_and_back(helm, ecr, registry, name, tmp_path):
    # helm pushes to the folder's repository plus the chart's name.
    ecr.create_repository(repositoryName=f"{name}/shop")
    helm("create", "shop")
    helm("package", "--version", "1.2.3+build.4", "shop")
    helm("push", "--plain-http", "shop-1.2.3+build.4.tgz", f"oci://{registry.host}/{name}")
    # A plus is no letter of a tag, so helm writes it as an underscore.
    assert set(tags(ecr, f"{name}/shop")) == {"1.2.3_build.4"}
    details = ecr.describe_images(repositoryName=f"{name}/shop")["imageDetails"][0]
    assert details["artifactMediaType"] == "application/vnd.cncf.helm.config.v1+json"

    pushed = (tmp_path / "shop-1.2.3+build.4.tgz").read_bytes()
    (tmp_path / "shop-1.2.3+build.4.tgz").unlink()
    helm("pull", "--plain-http", f"oci://{registry.host}/{name}/shop", "--version", "1.2.3+build.4")
    assert (tmp_path / "shop-1.2.3+build.4.tgz").read_bytes() == pushed
    said = helm(
        "show",
        "chart",
        "--plain-http",
        f"oci://{registry.host}/{name}/shop",
        "--version",
        "1.2.3+build.4",
    )
    assert "version: 1.2.3+build.4" in said


def test_the_newest_version_is_found_by_listing_tags(helm, ecr, registry, name):
    ecr.create_repository(repositoryName=f"{name}/shop")
    helm("create", "shop")
    for version in ("1.9.0", "1.10.0"):
        helm("package", "--version", version, "shop")
        helm("push", "--plain-http", f"shop-{version}.tgz", f"oci://{registry.host}/{name}")
    said = helm(
        "show",
        "chart",
        "--plain-http",
        f"oci://{registry.host}/{name}/shop",
        "--version",
        ">=1.0.0",
    )
    assert "version: 1.10.0" in said
