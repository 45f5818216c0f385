"""The call sequences of tools that build on the SDKs, as they make them.

amazon-ecr-login, cdk-assets, the containerd resolver and Terraform's provider: none of them
installs here, but each is known call by call.
"""

import base64

import requests

from support.api import refused
from support.images import ALL_TYPES, index
from support.log import keep_secret
from support.server import ACCOUNT
from support.v2 import V2


def test_amazon_ecr_login(registry, ecr):
    data = ecr.get_authorization_token(registryIds=[ACCOUNT])["authorizationData"][0]
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":", 1)
    keep_secret(password)
    # It logs in to the endpoint as it is, and tells the next steps the host alone.
    assert V2(data["proxyEndpoint"], password).get("/v2/").status_code == 200
    assert data["proxyEndpoint"].split("://", 1)[1] == registry.host
    assert user == "AWS"


def test_cdk_assets(registry, ecr, name):
    bootstrap = f"{name}/cdk-hnb659fds-container-assets"
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[bootstrap])
    ecr.create_repository(
        repositoryName=bootstrap,
        imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
    )
    uri = ecr.describe_repositories(repositoryNames=[bootstrap])["repositories"][0]["repositoryUri"]
    with refused("ImageNotFoundException"):
        ecr.describe_images(repositoryName=bootstrap, imageIds=[{"imageTag": "hash"}])
    data = ecr.get_authorization_token()["authorizationData"][0]
    # JavaScript's split: the first two parts, whatever follows.
    user, password = base64.b64decode(data["authorizationToken"]).decode().split(":")[:2]
    host, _, repository = uri.partition("/")
    assert data["proxyEndpoint"].endswith("://" + host)
    V2(f"{registry.scheme}://{host}", keep_secret(password)).push(repository, index(), "hash")
    assert ecr.describe_images(repositoryName=bootstrap, imageIds=[{"imageTag": "hash"}])[
        "imageDetails"
    ]
    assert user == "AWS"


def test_the_containerd_resolver(ecr, v2, repository):
    """Only the API: fetch and push of an index with its images."""
    made = index()
    for child in (*made.children, made):
        found = ecr.batch_get_image(
            repositoryName=repository,
            imageIds=[{"imageDigest": child.digest}],
            acceptedMediaTypes=ALL_TYPES,
        )
        assert [it["failureCode"] for it in found["failures"]] == ["ImageNotFound"]
        for blob in child.blobs:
            layers = ecr.batch_check_layer_availability(
                repositoryName=repository, layerDigests=[blob.digest]
            )
            assert layers["layers"][0]["layerAvailability"] == "UNAVAILABLE"
            upload = ecr.initiate_layer_upload(repositoryName=repository)
            for start in range(0, len(blob.data), upload["partSize"]):
                part = blob.data[start : start + upload["partSize"]]
                ecr.upload_layer_part(
                    repositoryName=repository,
                    uploadId=upload["uploadId"],
                    partFirstByte=start,
                    partLastByte=start + len(part) - 1,
                    layerPartBlob=part,
                )
            ecr.complete_layer_upload(
                repositoryName=repository, uploadId=upload["uploadId"], layerDigests=[blob.digest]
            )
        tag = {"imageTag": "all"} if child is made else {}
        ecr.put_image(
            repositoryName=repository,
            imageManifest=child.text,
            imageManifestMediaType=child.media_type,
            imageDigest=child.digest,
            **tag,
        )
    assert v2.get_manifest(repository, "all").content == made.manifest
    blob = made.children[0].blobs[1]
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=blob.digest)[
        "downloadUrl"
    ]
    keep_secret(url.rsplit("/", 1)[1])
    answer = requests.get(url, headers={"Range": "bytes=10-"}, timeout=60)
    assert (answer.status_code, answer.content) == (206, blob.data[10:])


def test_terraforms_repository(ecr, name):
    made = ecr.create_repository(
        repositoryName=name,
        imageTagMutability="MUTABLE",
        tags=[{"Key": "a", "Value": "1"}],
        encryptionConfiguration={"encryptionType": "AES256"},
    )["repository"]
    found = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
    assert found == made
    for member in (
        "encryptionConfiguration",
        "imageScanningConfiguration",
        "imageTagMutability",
        "repositoryUri",
        "registryId",
        "repositoryArn",
    ):
        assert found[member]
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"]
    with refused("RepositoryPolicyNotFoundException"):
        ecr.get_repository_policy(repositoryName=name)
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    ecr.put_image_scanning_configuration(
        repositoryName=name, imageScanningConfiguration={"scanOnPush": True}
    )
    ecr.untag_resource(resourceArn=made["repositoryArn"], tagKeys=["a"])
    ecr.tag_resource(resourceArn=made["repositoryArn"], tags=[{"Key": "b", "Value": "2"}])
    ecr.delete_repository(repositoryName=name, force=True)
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(repositoryNames=[name])
