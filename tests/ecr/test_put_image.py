"""PutImage, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
"""

import json

import pytest

from support.api import invalid, no_repository, push, put_image, refused, upload_layer
from support.images import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    artifact,
    image,
    index,
)
from support.server import ACCOUNT


def upload(ecr, repository, made):
    """Pushes everything but the manifest itself."""
    push(ecr, repository, made)
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": made.digest}])


def test_the_answer_is_the_image(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    answer = ecr.put_image(repositoryName=repository, imageManifest=made.text, imageTag="1.4.0")
    assert answer["image"] == {
        "registryId": ACCOUNT,
        "repositoryName": repository,
        "imageId": {"imageDigest": made.digest, "imageTag": "1.4.0"},
        "imageManifest": made.text,
        "imageManifestMediaType": OCI_MANIFEST,
    }


def test_an_image_needs_no_tag(ecr, repository):
    made = image()
    assert push(ecr, repository, made)["imageId"] == {"imageDigest": made.digest}
    assert ecr.list_images(repositoryName=repository)["imageIds"] == [{"imageDigest": made.digest}]


def test_docker_pulls_what_the_api_pushed(ecr, v2, repository):
    made = image(docker=True)
    push(ecr, repository, made, "1")
    answer = v2.get_manifest(repository, "1")
    assert answer.content == made.manifest
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST
    assert answer.headers["Docker-Content-Digest"] == made.digest
    for blob in made.blobs:
        assert v2.get(f"/v2/{repository}/blobs/{blob.digest}").content == blob.data


def test_bytes_are_kept_as_they_came(ecr, repository):
    made = image()
    push(ecr, repository, made)
    spaced = json.dumps(made.document, indent=3) + "\n"
    stored = ecr.put_image(repositoryName=repository, imageManifest=spaced, imageTag="spaced")[
        "image"
    ]
    assert stored["imageId"]["imageDigest"] != made.digest
    got = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "spaced"}])[
        "images"
    ]
    assert got[0]["imageManifest"] == spaced


def test_the_same_again_is_an_error(ecr, repository, pushed):
    with refused(
        "ImageAlreadyExistsException",
        f"Image with digest '{pushed.digest}' and tag '1' already exists in the repository "
        f"with name '{repository}' in registry with id '{ACCOUNT}'",
    ):
        put_image(ecr, repository, pushed, "1")
    with refused("ImageAlreadyExistsException"):
        put_image(ecr, repository, pushed)


def test_a_new_tag_on_a_known_digest(ecr, repository, pushed):
    before = ecr.describe_images(repositoryName=repository)["imageDetails"][0]["imagePushedAt"]
    put_image(ecr, repository, pushed, "2")
    details = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert len(details) == 1
    assert sorted(details[0]["imageTags"]) == ["1", "2"]
    assert details[0]["imagePushedAt"] == before


def test_a_moved_tag_leaves_the_old_image_untagged(ecr, repository, pushed):
    newer = image()
    push(ecr, repository, newer, "1")
    found = ecr.list_images(repositoryName=repository)["imageIds"]
    assert {"imageDigest": pushed.digest} in found
    assert {"imageDigest": newer.digest, "imageTag": "1"} in found
    assert len(found) == 2


def test_an_immutable_tag_stays(ecr, repository, pushed):
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    newer = image()
    push(ecr, repository, newer)
    for made in (newer, pushed):
        with refused("ImageTagAlreadyExistsException") as answers:
            put_image(ecr, repository, made, "1")
        begin = f"The image tag '1' already exists in the '{repository}' repository and cannot be overwritten because the "
        assert answers[0]["Error"]["Message"] in (
            begin + "repository is immutable.",
            begin + "tag is immutable.",
        )
    put_image(ecr, repository, newer, "2")


def test_a_deleted_immutable_tag_is_free(ecr, repository, pushed):
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "1"}])
    push(ecr, repository, image(), "1")


def test_missing_layers_are_named(ecr, repository):
    made = image()
    missing = made.blobs[1].digest
    # The config is there, the layer is not.
    upload_layer(ecr, repository, made.blobs[0].data, [made.blobs[0].digest])
    with refused(
        "LayersNotFoundException",
        f"Layers with digests '[{missing}]' required for pushing image into repository with name "
        f"'{repository}' in the registry with id '{ACCOUNT}' do not exist",
    ):
        put_image(ecr, repository, made, "1")


def test_layers_of_another_repository_do_not_count(ecr, repository, second_repository, pushed):
    with refused("LayersNotFoundException") as answers:
        put_image(ecr, second_repository, pushed, "1")
    for blob in pushed.blobs:
        assert blob.digest in answers[0]["Error"]["Message"]


def test_an_index_needs_its_children(ecr, repository):
    made = index()
    push(ecr, repository, made.children[0])
    missing = made.children[1].digest
    with refused(
        "ReferencedImagesNotFoundException",
        f"Images with digests '[{missing}]' required for pushing image into repository with name "
        f"'{repository}' in the registry with id '{ACCOUNT}' do not exist",
    ):
        put_image(ecr, repository, made, "1")
    push(ecr, repository, made.children[1])
    put_image(ecr, repository, made, "1")


def test_an_index_of_indexes(ecr, repository):
    inner = index()
    outer = index([inner, image(architecture="riscv64")])
    push(ecr, repository, outer, "all")
    got = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "all"}])["images"]
    assert got[0]["imageManifest"] == outer.text
    assert got[0]["imageManifestMediaType"] == OCI_INDEX


def test_a_subject_need_not_exist(ecr, repository):
    push(ecr, repository, artifact(subject=image()), "sbom")


def test_a_wrong_digest_is_told(ecr, repository, pushed):
    wrong = "sha256:" + "0" * 64
    with refused(
        "ImageDigestDoesNotMatchException",
        f"The image with digest '{wrong}' in repository '{repository}' and registry ID '{ACCOUNT}' "
        "does not match the image digest that Amazon ECR has calculated.",
    ):
        put_image(ecr, repository, pushed, "2", imageDigest=wrong)
    put_image(ecr, repository, pushed, "2", imageDigest=pushed.digest)


@pytest.mark.parametrize("text", ["{", "nonsense", "[1, 2", '{"schemaVersion": 2} more', ""])
def test_what_is_no_json_is_refused(raw_ecr, repository, text):
    with refused("InvalidParameterException"):
        raw_ecr.put_image(
            repositoryName=repository, imageManifest=text, imageManifestMediaType=OCI_MANIFEST
        )


def test_broken_json_has_its_own_text(ecr, repository):
    with refused("InvalidParameterException", invalid("ImageManifest") + "'Invalid JSON syntax'"):
        ecr.put_image(
            repositoryName=repository,
            imageManifest="{nonsense",
            imageManifestMediaType=OCI_MANIFEST,
        )


def test_a_media_type_is_needed_somewhere(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    del made.document["mediaType"]
    with refused(
        "InvalidParameterException",
        "image manifest mediatype not provided in manifest or parameter",
    ):
        ecr.put_image(repositoryName=repository, imageManifest=made.text, imageTag="1")
    stored = ecr.put_image(
        repositoryName=repository,
        imageManifest=made.text,
        imageTag="1",
        imageManifestMediaType=OCI_MANIFEST,
    )["image"]
    assert stored["imageManifestMediaType"] == OCI_MANIFEST


def test_two_media_types_must_agree(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    with refused("InvalidParameterException"):
        ecr.put_image(
            repositoryName=repository,
            imageManifest=made.text,
            imageManifestMediaType=DOCKER_MANIFEST,
        )


def test_a_manifest_is_an_image_or_an_index(ecr, repository):
    made = image()
    push(ecr, repository, made)
    made.document["manifests"] = [made.blobs[0].descriptor]
    with refused("InvalidParameterException"):
        put_image(ecr, repository, made, "both")


@pytest.mark.parametrize("tag", ["a:b", "a/b", "-a", ".a", "ä", "a b", "x" * 129, "x" * 301])
def test_bad_tags_are_refused(ecr, repository, pushed, tag):
    with refused("InvalidParameterException"):
        put_image(ecr, repository, pushed, tag)


def test_a_manifest_may_be_large(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    made.document["annotations"] = {"filling": "x" * (4 * 1024 * 1024 - len(made.manifest) - 100)}
    assert 4_000_000 < len(made.manifest) <= 4 * 1024 * 1024
    put_image(ecr, repository, made, "large")
    got = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "large"}])["images"]
    assert got[0]["imageManifest"] == made.text


def test_a_manifest_has_a_limit(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    made.document["annotations"] = {"filling": "x" * (4 * 1024 * 1024)}
    with refused("InvalidParameterException"):
        put_image(ecr, repository, made, "larger")


def test_a_manifest_has_at_most_4096_descriptors(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    one = made.document["layers"][0]
    made.document["layers"] = [one] * 5000
    with refused("InvalidParameterException"):
        put_image(ecr, repository, made, "many")


def test_an_image_has_at_most_a_thousand_tags(ecr, v2, repository, pushed):
    for start in range(0, 1000, 10):
        query = "&".join(f"tag=t{number}" for number in range(start, start + 10))
        if start == 0:
            query = query.replace("tag=t0", "tag=1")
        answer = v2.put_manifest(repository, f"{pushed.digest}?{query}", pushed)
        assert answer.status_code == 201, answer.text
    with refused("LimitExceededException"):
        put_image(ecr, repository, pushed, "one-more")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "t1"}])
    put_image(ecr, repository, pushed, "one-more")


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        put_image(ecr, name, image(), "1")


def test_foreign_layers_need_not_be_here(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    made.document["layers"].append(
        {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": "sha256:" + "5" * 64,
            "size": 1000,
            "urls": ["https://example.com/layer"],
        }
    )
    put_image(ecr, repository, made, "foreign")


def test_an_unknown_member_is_kept(ecr, repository):
    made = image()
    upload(ecr, repository, made)
    made.document["com.example.custom"] = {"kept": True}
    put_image(ecr, repository, made, "custom")
    got = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "custom"}])[
        "images"
    ]
    assert json.loads(got[0]["imageManifest"])["com.example.custom"] == {"kept": True}
