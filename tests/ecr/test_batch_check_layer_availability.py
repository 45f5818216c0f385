"""BatchCheckLayerAvailability, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchCheckLayerAvailability.html
"""

from support.api import no_repository, push, refused, upload_layer
from support.images import OCI_CONFIG, OCI_LAYER, digest, image

MISSING = "sha256:" + "2" * 64


def availability(ecr, repository, *digests):
    return ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=list(digests))


def test_layers_of_an_image(ecr, repository):
    made = image()
    push(ecr, repository, made)
    config, layer = made.blobs
    answer = availability(ecr, repository, config.digest, layer.digest)
    assert answer["failures"] == []
    assert sorted(answer["layers"], key=lambda it: it["mediaType"]) == sorted(
        [
            {
                "layerDigest": blob.digest,
                "layerAvailability": "AVAILABLE",
                "layerSize": len(blob.data),
                "mediaType": media_type,
            }
            for blob, media_type in ((config, OCI_CONFIG), (layer, OCI_LAYER))
        ],
        key=lambda it: it["mediaType"],
    )


def test_a_layer_is_available_before_an_image_uses_it(ecr, v2, repository):
    data = b"uploaded by the API, " + repository.encode()
    upload_layer(ecr, repository, data, [digest(data)])
    pushed = v2.push_blob(repository, b"pushed over the registry, " + repository.encode())
    found = {
        it["layerDigest"]: it
        for it in availability(ecr, repository, digest(data), pushed)["layers"]
    }
    assert found[digest(data)]["layerAvailability"] == "AVAILABLE"
    assert found[digest(data)]["layerSize"] == len(data)
    assert found[pushed]["layerAvailability"] == "AVAILABLE"


def test_a_miss_is_no_failure(ecr, repository):
    answer = availability(ecr, repository, MISSING)
    assert answer["failures"] == []
    assert answer["layers"] == [{"layerDigest": MISSING, "layerAvailability": "UNAVAILABLE"}]


def test_a_layer_of_another_repository_is_a_miss(ecr, repository, second_repository, v2):
    pushed = v2.push_blob(second_repository, second_repository.encode())
    answer = availability(ecr, repository, pushed)
    assert answer["layers"] == [{"layerDigest": pushed, "layerAvailability": "UNAVAILABLE"}]


def test_malformed_digests_are_failures(raw_ecr, repository):
    answer = availability(raw_ecr, repository, "junk", "", MISSING)
    assert [
        (it["layerDigest"], it["failureCode"]) for it in answer["failures"] if it.get("layerDigest")
    ] == [("junk", "InvalidLayerDigest")]
    assert [it["failureCode"] for it in answer["failures"] if not it.get("layerDigest")] == [
        "MissingLayerDigest"
    ]
    assert [it["layerDigest"] for it in answer["layers"]] == [MISSING]


def test_one_to_a_hundred_digests(raw_ecr, repository):
    for digests in ([], [MISSING] * 101):
        with refused("InvalidParameterException"):
            availability(raw_ecr, repository, *digests)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        availability(ecr, name, MISSING)
