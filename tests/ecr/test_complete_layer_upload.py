"""CompleteLayerUpload, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CompleteLayerUpload.html
"""

import secrets

from support.api import no_repository, refused, upload_layer, upload_part
from support.images import digest
from support.server import ACCOUNT

MIB = 1024 * 1024


def begin(ecr, repository):
    return ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]


def complete(ecr, repository, upload, *digests):
    return ecr.complete_layer_upload(
        repositoryName=repository, uploadId=upload, layerDigests=list(digests)
    )


def test_the_digest_is_told(ecr, v2, repository):
    data = secrets.token_bytes(1000)
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, data)
    answer = complete(ecr, repository, upload, digest(data))
    assert answer["registryId"] == ACCOUNT
    assert answer["repositoryName"] == repository
    assert answer["uploadId"] == upload
    assert answer["layerDigest"] == digest(data)
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_parts_are_put_together_in_order(ecr, v2, repository):
    data = secrets.token_bytes(11 * MIB + 7)
    answer = upload_layer(ecr, repository, data, [digest(data)], part_size=5 * MIB)
    assert answer["layerDigest"] == digest(data)
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_one_digest_of_several_is_enough(ecr, repository):
    data = secrets.token_bytes(100)
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, data)
    answer = complete(ecr, repository, upload, "sha256:" + "0" * 64, digest(data))
    assert answer["layerDigest"] == digest(data)


def test_a_wrong_digest_makes_no_layer(ecr, repository):
    wrong = digest(b"something else " + repository.encode())
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, b"something")
    with refused(
        "InvalidLayerException",
        "None of the provided layer digests match the calculated layer digest",
    ):
        complete(ecr, repository, upload, wrong)
    for layer in (wrong, digest(b"something")):
        answer = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[layer])
        assert answer["layers"][0]["layerAvailability"] == "UNAVAILABLE"


def test_a_layer_that_is_there_already(ecr, repository):
    data = secrets.token_bytes(100)
    upload_layer(ecr, repository, data, [digest(data)])
    with refused("LayerAlreadyExistsException"):
        upload_layer(ecr, repository, data, [digest(data)])


def test_a_short_part_before_the_last(ecr, repository):
    data = secrets.token_bytes(2 * MIB)
    with refused(
        "LayerPartTooSmallException", "All layer parts except the last part should be at least 5MB"
    ):
        upload_layer(ecr, repository, data, [digest(data)], part_size=MIB)


def test_an_upload_without_a_part(ecr, repository):
    upload = begin(ecr, repository)
    with refused(
        "EmptyUploadException",
        f"The upload with id '{upload}' in the repository with name '{repository}' in registry "
        f"with id '{ACCOUNT}' cannot be completed because it does not have any parts",
    ):
        complete(ecr, repository, upload, digest(b""))


def test_an_upload_ends_once(ecr, repository):
    data = secrets.token_bytes(100)
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, data)
    complete(ecr, repository, upload, digest(data))
    with refused("UploadNotFoundException"):
        complete(ecr, repository, upload, digest(data))
    with refused("UploadNotFoundException"):
        upload_part(ecr, repository, upload, 100, b"more")


def test_begun_over_the_registry_ended_here(ecr, v2, repository):
    first, second = secrets.token_bytes(100), secrets.token_bytes(200)
    location = v2.start_upload(repository)
    answer = v2.append(location, first)
    assert answer.status_code == 202
    upload = answer.headers["Location"].split("?")[0].rsplit("/", 1)[1]
    assert upload_part(ecr, repository, upload, 100, second)["lastByteReceived"] == 299
    assert complete(ecr, repository, upload, digest(first + second))["layerDigest"] == digest(
        first + second
    )
    assert v2.get(f"/v2/{repository}/blobs/{digest(first + second)}").content == first + second


def test_an_unknown_upload(ecr, repository):
    with refused("UploadNotFoundException"):
        complete(ecr, repository, "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9", digest(b""))


def test_an_upload_of_another_repository_is_unknown(ecr, repository, second_repository):
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, b"x")
    with refused("UploadNotFoundException"):
        complete(ecr, second_repository, upload, digest(b"x"))
    complete(ecr, repository, upload, digest(b"x"))


def test_a_bad_digest_is_refused(ecr, repository):
    upload = begin(ecr, repository)
    upload_part(ecr, repository, upload, 0, b"x")
    with refused("InvalidParameterException"):
        complete(ecr, repository, upload, "junk")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        complete(ecr, name, "6cb64b8a-9378-4e33-9ab1-b780fab8a9e9", digest(b""))
