"""cosign, unmodified: sign, attest and verify with a key, in both forms of its bundles."""

import json

import pytest

from support.api import tags
from support.images import image
from support.program import Program
from support.tools import environment, tool

SIGN = ["--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "-y"]
VERIFY = ["--insecure-ignore-tlog=true", "--allow-http-registry"]


@pytest.fixture
def cosign(tmp_path, docker_config):
    """cosign with a key pair in its working directory."""
    env = environment(tmp_path, DOCKER_CONFIG=docker_config, COSIGN_PASSWORD="")
    client = Program(tool("cosign"), env=env, cwd=tmp_path)
    client("generate-key-pair")
    return client


@pytest.mark.parametrize("new", [True, False])
def test_sign_and_verify(cosign, v2, ecr, registry, repository, new):
    made = image()
    v2.push(repository, made, "1")
    name = f"{registry.host}/{repository}"
    bundle = f"--new-bundle-format={str(new).lower()}"
    cosign.fails("verify", "--key", "cosign.pub", bundle, *VERIFY, f"{name}:1")
    cosign("sign", "--key", "cosign.key", bundle, *SIGN, f"{name}@{made.digest}")
    for reference in (f"{name}:1", f"{name}@{made.digest}"):
        seen = json.loads(cosign("verify", "--key", "cosign.pub", bundle, *VERIFY, reference))
        assert seen[0]["critical"]["image"]["docker-manifest-digest"] == made.digest
    if new:
        listed = ecr.list_image_referrers(
            repositoryName=repository, subjectId={"imageDigest": made.digest}
        )
        assert len(listed["referrers"]) == 1
    else:
        assert made.digest.replace(":", "-") + ".sig" in tags(ecr, repository)


def test_another_key_verifies_nothing(cosign, v2, registry, repository, tmp_path):
    made = image()
    v2.push(repository, made, "1")
    name = f"{registry.host}/{repository}"
    cosign("sign", "--key", "cosign.key", *SIGN, f"{name}@{made.digest}")
    (tmp_path / "other").mkdir()
    cosign("generate-key-pair", cwd=tmp_path / "other")
    cosign.fails("verify", "--key", "other/cosign.pub", *VERIFY, f"{name}:1")


def test_an_attestation(cosign, v2, registry, repository, tmp_path):
    made = image()
    v2.push(repository, made, "1")
    name = f"{registry.host}/{repository}"
    (tmp_path / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    cosign(
        "attest",
        "--key",
        "cosign.key",
        "--type",
        "spdxjson",
        "--predicate",
        "sbom.json",
        *SIGN,
        f"{name}@{made.digest}",
    )
    said = cosign(
        "verify-attestation", "--key", "cosign.pub", "--type", "spdxjson", *VERIFY, f"{name}:1"
    )
    assert "payload" in said
