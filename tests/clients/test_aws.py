"""The AWS CLI, versions 1 and 2, unmodified."""

import base64
import json

import pytest

from support.images import digest, image
from support.log import keep_secret
from support.program import Program
from support.server import ACCOUNT, OTHER_ACCOUNT
from support.tools import debian, existing, folder
from support.v2 import V2


@pytest.fixture(params=["v1", "v2"])
def aws(request, registry, tmp_path):
    """`aws ecr` of one version, with JSON as its output."""
    program = (
        existing(folder() / "awscli1" / "bin" / "aws") if request.param == "v1" else debian("aws")
    )
    env = registry.environment(tmp_path)
    said = Program(program, env=env)("--version")
    assert said.startswith(f"aws-cli/{request.param[1]}.")
    return Program(
        program, "ecr", "--endpoint-url", registry.url, "--output", "json", env=env, cwd=tmp_path
    )


def ask(aws, *arguments):
    """The answer of a command as a document."""
    return json.loads(aws(*arguments))


def test_a_repository_from_its_beginning_to_its_end(aws, registry, name):
    made = ask(
        aws,
        "create-repository",
        "--repository-name",
        name,
        "--image-tag-mutability",
        "IMMUTABLE",
        "--tags",
        "Key=team,Value=shop",
    )["repository"]
    assert made["repositoryUri"] == f"{registry.host}/{name}"
    assert made["createdAt"]
    found = ask(aws, "describe-repositories", "--repository-names", name)["repositories"]
    assert [it["imageTagMutability"] for it in found] == ["IMMUTABLE"]
    tags = ask(aws, "list-tags-for-resource", "--resource-arn", made["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "shop"}]
    aws(
        "put-image-scanning-configuration",
        "--repository-name",
        name,
        "--image-scanning-configuration",
        "scanOnPush=true",
    )
    ask(aws, "delete-repository", "--repository-name", name)
    said = aws.fails("describe-repositories", "--repository-names", name)
    assert "RepositoryNotFoundException" in said
    assert (
        f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
        in said
    )


def test_the_password(aws, registry):
    password = keep_secret(aws("get-login-password").strip())
    assert V2(registry.url, password).get("/v2/").status_code == 200


def test_the_token(aws, registry):
    data = ask(aws, "get-authorization-token")["authorizationData"][0]
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":")
    keep_secret(password)
    assert user == "AWS"
    assert data["proxyEndpoint"] == registry.url


def test_a_push_and_a_pull(aws, v2, repository, tmp_path):
    made = image()
    for blob in made.blobs:
        (tmp_path / "part").write_bytes(blob.data)
        upload = ask(aws, "initiate-layer-upload", "--repository-name", repository)["uploadId"]
        received = ask(
            aws,
            "upload-layer-part",
            "--repository-name",
            repository,
            "--upload-id",
            upload,
            "--part-first-byte",
            "0",
            "--part-last-byte",
            str(len(blob.data) - 1),
            "--layer-part-blob",
            "fileb://part",
        )["lastByteReceived"]
        assert received == len(blob.data) - 1
        done = ask(
            aws,
            "complete-layer-upload",
            "--repository-name",
            repository,
            "--upload-id",
            upload,
            "--layer-digests",
            digest(blob.data),
        )
        assert done["layerDigest"] == blob.digest
    (tmp_path / "manifest.json").write_bytes(made.manifest)
    put = ask(
        aws,
        "put-image",
        "--repository-name",
        repository,
        "--image-tag",
        "1",
        "--image-manifest",
        "file://manifest.json",
    )["image"]
    assert put["imageId"] == {"imageDigest": made.digest, "imageTag": "1"}
    assert v2.get_manifest(repository, "1").content == made.manifest
    got = ask(aws, "batch-get-image", "--repository-name", repository, "--image-ids", "imageTag=1")[
        "images"
    ][0]
    assert got["imageManifest"].encode() == made.manifest
    url = ask(
        aws,
        "get-download-url-for-layer",
        "--repository-name",
        repository,
        "--layer-digest",
        made.blobs[1].digest,
    )["downloadUrl"]
    keep_secret(url.rsplit("/", 1)[1])
    assert v2.get(url).content == made.blobs[1].data


def test_lists_are_paged_by_itself(aws, v2, repository):
    made = [image() for _ in range(5)]
    for number, one in enumerate(made):
        v2.push(repository, one, f"t{number}")
    found = ask(aws, "list-images", "--repository-name", repository, "--page-size", "2")["imageIds"]
    assert sorted(it["imageTag"] for it in found) == [f"t{number}" for number in range(5)]
    found = ask(
        aws,
        "describe-images",
        "--repository-name",
        repository,
        "--page-size",
        "2",
        "--query",
        "imageDetails[].imageDigest",
    )
    assert sorted(found) == sorted(it.digest for it in made)
    some = ask(aws, "list-images", "--repository-name", repository, "--max-items", "2")
    assert len(some["imageIds"]) == 2
    more = ask(
        aws, "list-images", "--repository-name", repository, "--starting-token", some["NextToken"]
    )
    assert len(more["imageIds"]) == 3


def test_deleting(aws, v2, repository):
    made = image()
    for tag in ("1", "2"):
        v2.push(repository, made, tag)
    answer = ask(
        aws,
        "batch-delete-image",
        "--repository-name",
        repository,
        "--image-ids",
        "imageTag=1",
        "imageTag=missing",
    )
    assert answer["imageIds"] == [{"imageDigest": made.digest, "imageTag": "1"}]
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"


def test_policies(aws, repository, tmp_path):
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "pull",
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"},
                    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                }
            ],
        }
    )
    (tmp_path / "policy.json").write_text(text)
    aws(
        "set-repository-policy",
        "--repository-name",
        repository,
        "--policy-text",
        "file://policy.json",
    )
    back = ask(aws, "get-repository-policy", "--repository-name", repository)["policyText"]
    assert json.loads(back) == json.loads(text)
    aws("delete-repository-policy", "--repository-name", repository)
    assert "RepositoryPolicyNotFoundException" in aws.fails(
        "get-repository-policy", "--repository-name", repository
    )


def test_the_registry(aws):
    assert ask(aws, "describe-registry")["registryId"] == ACCOUNT
    assert "RegistryPolicyNotFoundException" in aws.fails("get-registry-policy")


def test_a_wrong_secret(aws, registry):
    aws.env["AWS_SECRET_ACCESS_KEY"] = "x" * 40
    assert "InvalidSignatureException" in aws.fails("describe-repositories")


def test_the_old_login_of_version_1(registry, tmp_path):
    """Version 1 still prints whole docker commands."""
    aws = Program(
        existing(folder() / "awscli1" / "bin" / "aws"), env=registry.environment(tmp_path)
    )
    words = aws("ecr", "get-login", "--no-include-email", "--endpoint-url", registry.url).split()
    assert words[:4] == ["docker", "login", "-u", "AWS"]
    assert words[-1] == registry.url
    assert (
        V2(registry.url, keep_secret(words[words.index("-p") + 1])).get("/v2/").status_code == 200
    )
