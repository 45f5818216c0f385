"""UploadLayerPart, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
"""

import secrets

import pytest

from support.api import no_repository, refused, upload_part
from support.images import digest
from support.server import ACCOUNT


@pytest.fixture
def upload(ecr, repository):
    """The id of an upload that was begun in `repository`."""
    return ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]


def test_what_was_received_is_told(ecr, repository, upload):
    answer = upload_part(ecr, repository, upload, 0, b"x" * 1000)
    assert answer["registryId"] == ACCOUNT
    assert answer["repositoryName"] == repository
    assert answer["uploadId"] == upload
    assert answer["lastByteReceived"] == 999
    assert upload_part(ecr, repository, upload, 1000, b"y" * 500)["lastByteReceived"] == 1499


def test_a_gap_is_refused(ecr, repository, upload):
    upload_part(ecr, repository, upload, 0, b"x" * 1000)
    with refused(
        "InvalidLayerPartException", "First byte of the layer part is 2000 instead of 1000"
    ) as answers:
        upload_part(ecr, repository, upload, 2000, b"y" * 500)
    answer = answers[0]
    assert answer["registryId"] == ACCOUNT
    assert answer["repositoryName"] == repository
    assert answer["uploadId"] == upload
    assert answer["lastValidByteReceived"] == 999
    # The upload goes on where it was.
    assert upload_part(ecr, repository, upload, 1000, b"y" * 500)["lastByteReceived"] == 1499


def test_the_first_part_begins_at_the_beginning(ecr, repository, upload):
    with refused("InvalidLayerPartException", "First byte of the layer part is 5 instead of 0"):
        upload_part(ecr, repository, upload, 5, b"x")


def test_an_overlap_is_refused(ecr, repository, upload):
    upload_part(ecr, repository, upload, 0, b"x" * 1000)
    upload_part(ecr, repository, upload, 1000, b"x" * 1000)
    with refused(
        "InvalidLayerPartException", "First byte of the layer part is 500 instead of 2000"
    ):
        upload_part(ecr, repository, upload, 500, b"x" * 1000)


def test_the_last_part_may_be_sent_again(ecr, repository, upload):
    first, second = secrets.token_bytes(6 * 1024 * 1024), secrets.token_bytes(1000)
    upload_part(ecr, repository, upload, 0, first)
    answer = upload_part(ecr, repository, upload, len(first), second)
    again = upload_part(ecr, repository, upload, len(first), second)
    assert again["lastByteReceived"] == answer["lastByteReceived"]
    with refused("InvalidLayerPartException"):
        upload_part(ecr, repository, upload, len(first), secrets.token_bytes(1000))
    done = ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload, layerDigests=[digest(first + second)]
    )
    assert done["layerDigest"] == digest(first + second)


@pytest.mark.parametrize(("first", "last"), [(0, 998), (0, 1000), (0, 5)])
def test_the_range_is_as_long_as_the_part(ecr, repository, upload, first, last):
    with refused("InvalidLayerPartException"):
        ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload,
            partFirstByte=first,
            partLastByte=last,
            layerPartBlob=b"x" * 1000,
        )


def test_a_range_is_not_negative(raw_ecr, repository, upload):
    with refused("InvalidParameterException"):
        raw_ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload,
            partFirstByte=-1,
            partLastByte=0,
            layerPartBlob=b"xx",
        )


def test_the_largest_part(ecr, repository, upload):
    largest = secrets.token_bytes(20 * 1024 * 1024)
    assert upload_part(ecr, repository, upload, 0, largest)["lastByteReceived"] == len(largest) - 1
    done = ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload, layerDigests=[digest(largest)]
    )
    assert done["layerDigest"] == digest(largest)


def test_a_larger_part_is_refused(ecr, repository, upload):
    with refused("InvalidParameterException"):
        upload_part(ecr, repository, upload, 0, bytes(20 * 1024 * 1024 + 1))


def test_an_unknown_upload(ecr, repository):
    with refused("UploadNotFoundException"):
        upload_part(ecr, repository, "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9", 0, b"x")


def test_an_id_is_a_uuid(ecr, repository):
    with refused("InvalidParameterException"):
        upload_part(ecr, repository, "no-uuid", 0, b"x")


def test_an_upload_of_another_repository_is_unknown(ecr, repository, second_repository, upload):
    with refused("UploadNotFoundException"):
        upload_part(ecr, second_repository, upload, 0, b"x")
    upload_part(ecr, repository, upload, 0, b"x")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        upload_part(ecr, name, "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9", 0, b"x")
