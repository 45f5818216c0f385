"""Pushing through ECR's own API, as the containerd resolver does."""

from contextlib import contextmanager, suppress

import pytest
from botocore.exceptions import ClientError

PART = 10 * 1024 * 1024


def upload_layer(ecr, repository, data, digests, part_size=PART):
    """Uploads a layer in parts and completes it. Returns the answer of the completion."""
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    for start in range(0, len(data), part_size):
        part = data[start : start + part_size]
        upload_part(ecr, repository, upload, start, part)
    return ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload, layerDigests=digests
    )


def upload_part(ecr, repository, upload, start, part):
    return ecr.upload_layer_part(
        repositoryName=repository,
        uploadId=upload,
        partFirstByte=start,
        partLastByte=start + len(part) - 1,
        layerPartBlob=part,
    )


def push(ecr, repository, image, tag=None):
    """Pushes all of an image. A layer that is there already is none to upload."""
    for child in image.children:
        push(ecr, repository, child)
    for blob in image.blobs:
        with suppress(ecr.exceptions.LayerAlreadyExistsException):
            upload_layer(ecr, repository, blob.data, [blob.digest])
    return put_image(ecr, repository, image, tag)


def put_image(ecr, repository, image, tag=None, **more):
    if tag:
        more["imageTag"] = tag
    return ecr.put_image(
        repositoryName=repository,
        imageManifest=image.text,
        imageManifestMediaType=image.media_type,
        **more,
    )["image"]


@contextmanager
def refused(code, message=None, starts=None):
    """The block must be refused with this exception, and this text if one is given.

    `message` is the whole text, `starts` its beginning. Yields a list that holds the whole
    answer afterwards, for members beside the text.
    """
    answers = []
    with pytest.raises(ClientError) as caught:
        yield answers
    answers.append(caught.value.response)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    if message is not None:
        assert error["Message"] == message
    if starts is not None:
        assert error["Message"].startswith(starts), error["Message"]


def invalid(member):
    """How the text of an InvalidParameterException begins."""
    return f"Invalid parameter at '{member}' failed to satisfy constraint: "


def no_repository(name, account="123456789012"):
    """The text of a RepositoryNotFoundException."""
    return f"The repository with name '{name}' does not exist in the registry with id '{account}'"


def tags(ecr, repository):
    """What the API lists of a repository: tag to digest."""
    found = ecr.list_images(repositoryName=repository, maxResults=1000)["imageIds"]
    return {it["imageTag"]: it["imageDigest"] for it in found if "imageTag" in it}
