"""GetDownloadUrlForLayer, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
"""

import requests

from support.api import no_repository, refused, upload_layer
from support.images import digest
from support.log import keep_secret
from support.server import ACCOUNT


def download_url(ecr, repository, layer_digest):
    answer = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=layer_digest)
    assert answer["layerDigest"] == layer_digest
    keep_secret(answer["downloadUrl"].rsplit("/", 1)[1])
    return answer["downloadUrl"]


def test_the_url_needs_no_credentials(registry, ecr, repository, pushed):
    for blob in pushed.blobs:
        url = download_url(ecr, repository, blob.digest)
        assert url.startswith(f"{registry.url}/v2/-/layer/")
        answer = requests.get(url, timeout=60)
        assert answer.status_code == 200
        assert answer.content == blob.data


def test_a_layer_that_no_image_uses(ecr, repository):
    data = b"nobody uses this " + repository.encode()
    upload_layer(ecr, repository, data, [digest(data)])
    with refused("LayerInaccessibleException"):
        ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest(data))


def test_an_unknown_layer(ecr, repository):
    missing = "sha256:" + "4" * 64
    with refused(
        "LayersNotFoundException",
        f"The layer with digest {missing} does not exist within the repository with name "
        f"'{repository}' in the registry with id '{ACCOUNT}'",
    ):
        ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=missing)


def test_a_layer_of_another_repository_is_unknown(ecr, repository, second_repository, pushed):
    with refused("LayersNotFoundException"):
        ecr.get_download_url_for_layer(
            repositoryName=second_repository, layerDigest=pushed.blobs[1].digest
        )


def test_a_bad_digest_is_refused(ecr, repository):
    with refused("InvalidParameterException"):
        ecr.get_download_url_for_layer(repositoryName=repository, layerDigest="junk")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.get_download_url_for_layer(repositoryName=name, layerDigest="sha256:" + "4" * 64)
