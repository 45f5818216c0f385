"""BatchDeleteImage, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
"""

from support.api import no_repository, push, put_image, refused
from support.images import artifact, image, index


def delete(ecr, repository, *ids):
    return ecr.batch_delete_image(repositoryName=repository, imageIds=list(ids))


def test_a_tag_of_several_is_only_untied(ecr, repository, pushed):
    put_image(ecr, repository, pushed, "2")
    answer = delete(ecr, repository, {"imageTag": "1"})
    assert answer["imageIds"] == [{"imageDigest": pushed.digest, "imageTag": "1"}]
    assert answer["failures"] == []
    assert ecr.list_images(repositoryName=repository)["imageIds"] == [
        {"imageDigest": pushed.digest, "imageTag": "2"}
    ]


def test_the_last_tag_takes_the_image_with_it(ecr, v2, repository, pushed):
    delete(ecr, repository, {"imageTag": "1"})
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []
    for reference in ("1", pushed.digest):
        assert v2.get_manifest(repository, reference).status_code == 404


def test_a_digest_takes_all_tags(ecr, repository, pushed):
    put_image(ecr, repository, pushed, "2")
    answer = delete(ecr, repository, {"imageDigest": pushed.digest})
    assert sorted(answer["imageIds"], key=lambda it: it["imageTag"]) == [
        {"imageDigest": pushed.digest, "imageTag": "1"},
        {"imageDigest": pushed.digest, "imageTag": "2"},
    ]
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []


def test_an_untagged_image_by_digest(ecr, repository):
    made = image()
    push(ecr, repository, made)
    answer = delete(ecr, repository, {"imageDigest": made.digest})
    assert answer["imageIds"] == [{"imageDigest": made.digest}]


def test_the_second_time_it_is_not_found(ecr, repository, pushed):
    delete(ecr, repository, {"imageTag": "1"})
    answer = delete(ecr, repository, {"imageTag": "1"})
    assert answer["imageIds"] == []
    assert answer["failures"] == [
        {
            "imageId": {"imageTag": "1"},
            "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        }
    ]


def test_a_tag_and_a_digest_must_agree(ecr, repository, pushed):
    other = image()
    push(ecr, repository, other, "2")
    answer = delete(ecr, repository, {"imageTag": "1", "imageDigest": other.digest})
    assert answer["failures"][0]["failureCode"] == "ImageTagDoesNotMatchDigest"
    assert len(ecr.list_images(repositoryName=repository)["imageIds"]) == 2
    delete(ecr, repository, {"imageTag": "1", "imageDigest": pushed.digest})
    assert len(ecr.list_images(repositoryName=repository)["imageIds"]) == 1


def test_a_child_of_an_index_stays(ecr, repository):
    made = index()
    push(ecr, repository, made, "all")
    child = made.children[0].digest
    answer = delete(ecr, repository, {"imageDigest": child})
    assert answer["imageIds"] == []
    assert answer["failures"] == [
        {
            "imageId": {"imageDigest": child},
            "failureCode": "ImageReferencedByManifestList",
            "failureReason": f"Requested image referenced by manifest list: [{made.digest}]",
        }
    ]
    delete(ecr, repository, {"imageDigest": made.digest})
    assert delete(ecr, repository, {"imageDigest": child})["failures"] == []


def test_failures_do_not_stop_the_others(ecr, repository, pushed):
    answer = delete(
        ecr, repository, {}, {"imageDigest": "junk"}, {"imageTag": "nope"}, {"imageTag": "1"}
    )
    assert [it["failureCode"] for it in answer["failures"]] == [
        "MissingDigestAndTag",
        "InvalidImageDigest",
        "ImageNotFound",
    ]
    assert answer["imageIds"] == [{"imageDigest": pushed.digest, "imageTag": "1"}]


def test_immutability_does_not_keep_an_image(ecr, repository, pushed):
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    assert delete(ecr, repository, {"imageTag": "1"})["failures"] == []


def test_a_deleted_referrer_is_no_longer_listed(ecr, repository, pushed):
    sbom = artifact(subject=pushed)
    push(ecr, repository, sbom)
    delete(ecr, repository, {"imageDigest": sbom.digest})
    answer = ecr.list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": pushed.digest}
    )
    assert answer["referrers"] == []


def test_a_referrer_outlives_its_subject(ecr, repository, pushed):
    sbom = artifact(subject=pushed)
    push(ecr, repository, sbom)
    delete(ecr, repository, {"imageDigest": pushed.digest})
    answer = ecr.list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": pushed.digest}
    )
    assert [it["digest"] for it in answer["referrers"]] == [sbom.digest]


def test_at_most_a_hundred_ids(ecr, repository):
    with refused("InvalidParameterException"):
        delete(ecr, repository, *[{"imageTag": f"t{number}"} for number in range(101)])


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        delete(ecr, name, {"imageTag": "1"})
