"""Attacks across repositories, principals and time (attacks 6, 7, 9, 10, 11, 14, 15 and 20)."""

import secrets

import pytest

from support.api import refused, upload_part
from support.images import digest, image
from support.policies import PULL, PUSH, allow, deny, policy, statement
from support.server import ACCOUNT, OTHER_ACCOUNT
from support.v2 import error_code


@pytest.fixture
def data():
    return secrets.token_bytes(2000)


def test_6_a_blob_of_another_repository(v2, repository, second_repository, data):
    """The same bytes are stored once, and still each repository has only its own."""
    blob = v2.push_blob(repository, data)
    for method in ("GET", "HEAD", "DELETE"):
        assert v2.request(method, f"/v2/{second_repository}/blobs/{blob}").status_code == 404


def test_6_knowing_a_digest_is_no_right(ecr, v2, other_v2, repository, second_repository, data):
    """Who may push to one repository gets no blob of another by naming its digest."""
    secret = v2.push_blob(repository, data)
    ecr.set_repository_policy(
        repositoryName=second_repository, policyText=allow(OTHER_ACCOUNT, *PUSH, *PULL)
    )
    for source in (f"&from={repository}", ""):
        answer = other_v2.post(f"/v2/{second_repository}/blobs/uploads/?mount={secret}{source}")
        assert answer.status_code == 202
    made = image()
    for blob in made.blobs:
        other_v2.push_blob(second_repository, blob.data)
    made.document["layers"].append(
        {"mediaType": made.document["layers"][0]["mediaType"], "digest": secret, "size": len(data)}
    )
    answer = other_v2.put_manifest(second_repository, "1", made)
    assert (answer.status_code, error_code(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert other_v2.get(f"/v2/{second_repository}/blobs/{secret}").status_code == 404


def test_7_an_upload_of_somebody_else(ecr, v2, other_v2, other_account, repository, data):
    """Who may push to the repository still cannot touch an upload that another began."""
    ecr.set_repository_policy(repositoryName=repository, policyText=allow(OTHER_ACCOUNT, *PUSH))
    location = v2.append(v2.start_upload(repository), data).headers["Location"]
    upload = location.split("?")[0].rsplit("/", 1)[1]
    for answer in (
        other_v2.get(location),
        other_v2.append(location, b"mine"),
        other_v2.finish(location, digest(data)),
        other_v2.delete(location),
    ):
        assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    target = {"registryId": ACCOUNT, "repositoryName": repository, "uploadId": upload}
    with refused("UploadNotFoundException"):
        other_account.upload_layer_part(
            partFirstByte=len(data), partLastByte=len(data), layerPartBlob=b"x", **target
        )
    with refused("UploadNotFoundException"):
        other_account.complete_layer_upload(layerDigests=[digest(data)], **target)
    assert v2.finish(location, digest(data)).status_code == 201


def test_7_an_upload_in_another_repository(v2, ecr, repository, second_repository, data):
    location = v2.append(v2.start_upload(repository), data).headers["Location"]
    elsewhere = location.replace(f"/v2/{repository}/", f"/v2/{second_repository}/")
    for answer in (
        v2.get(elsewhere),
        v2.append(elsewhere, b"more"),
        v2.finish(elsewhere, digest(data)),
        v2.delete(elsewhere),
    ):
        assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    upload = location.split("?")[0].rsplit("/", 1)[1]
    with refused("UploadNotFoundException"):
        upload_part(ecr, second_repository, upload, len(data), b"x")


def test_9_an_immutable_tag_by_every_way(ecr, v2, repository):
    first, second = image(), image()
    v2.push(repository, first, "1")
    v2.push(repository, second)
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    for reference in (
        "1",
        f"{second.digest}?tag=1",
        f"{second.digest}?tag=new&tag=1",
        "other?tag=1",
    ):
        answer = v2.put_manifest(repository, reference, second)
        assert answer.status_code == 400, reference
    with refused("ImageTagAlreadyExistsException"):
        ecr.put_image(
            repositoryName=repository,
            imageManifest=second.text,
            imageTag="1",
            imageDigest=second.digest,
        )
    assert v2.get_manifest(repository, "1").content == first.manifest


def test_9_pushing_layers_is_not_pushing_images(ecr, v2, other_v2, repository):
    """Each right of a push is asked for by itself."""
    made = image()
    v2.push(repository, made, "1")
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=allow(OTHER_ACCOUNT, *(it for it in PUSH if it != "ecr:PutImage")),
    )
    other_v2.push_blob(repository, secrets.token_bytes(10))
    for reference in ("1", "2", made.digest, f"{made.digest}?tag=3"):
        answer = other_v2.put_manifest(repository, reference, made)
        assert (answer.status_code, error_code(answer)) == (403, "DENIED")


def test_10_deleting_is_one_right_by_every_way(ecr, v2, other_account, other_v2, repository, data):
    made = image()
    v2.push(repository, made, "1")
    unused = v2.push_blob(repository, data)
    ecr.set_repository_policy(
        repositoryName=repository,
        policyText=policy(
            statement("Allow", {"AWS": OTHER_ACCOUNT}, "ecr:*"),
            statement("Deny", {"AWS": OTHER_ACCOUNT}, "ecr:BatchDeleteImage"),
        ),
    )
    for path in ("manifests/1", f"manifests/{made.digest}", f"blobs/{unused}"):
        answer = other_v2.delete(f"/v2/{repository}/{path}")
        assert (answer.status_code, error_code(answer)) == (403, "DENIED")
    with refused("AccessDeniedException"):
        other_account.batch_delete_image(
            registryId=ACCOUNT, repositoryName=repository, imageIds=[{"imageTag": "1"}]
        )
    assert v2.get_manifest(repository, "1").status_code == 200


def test_11_what_was_deleted_is_gone_at_once(v2, ecr, repository):
    made = image()
    v2.push(repository, made, "1")
    for _ in range(3):
        v2.get_manifest(repository, "1")
        v2.get(f"/v2/{repository}/blobs/{made.blobs[1].digest}")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": made.digest}])
    for reference in ("1", made.digest):
        assert v2.get_manifest(repository, reference).status_code == 404
    blob = f"/v2/{repository}/blobs/{made.blobs[1].digest}"
    assert v2.delete(blob).status_code == 202
    assert v2.get(blob).status_code == 404


def test_14_a_new_repository_inherits_nothing(ecr, v2, other_v2, repository, data):
    ecr.set_repository_policy(
        repositoryName=repository, policyText=allow(OTHER_ACCOUNT, *PULL, *PUSH)
    )
    old = v2.append(v2.start_upload(repository), data).headers["Location"]
    theirs = other_v2.start_upload(repository)
    made = image()
    v2.push(repository, made, "1")
    assert other_v2.get_manifest(repository, "1").status_code == 200

    ecr.delete_repository(repositoryName=repository, force=True)
    ecr.create_repository(repositoryName=repository)
    v2.push(repository, made, "1")
    # Neither the grant nor an upload that was begun in the old one is of use.
    assert other_v2.get_manifest(repository, "1").status_code == 403
    assert other_v2.append(theirs, b"x").status_code == 403
    for answer in (v2.get(old), v2.append(old, b"x"), v2.finish(old, digest(data))):
        assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_15_what_is_taken_back_is_gone_with_the_next_request(ecr, v2, other_v2, repository):
    """The token stays the same; what it may is decided at each use."""
    v2.push(repository, image(), "1")
    for _ in range(5):
        ecr.set_repository_policy(repositoryName=repository, policyText=allow(OTHER_ACCOUNT, *PULL))
        assert other_v2.get_manifest(repository, "1").status_code == 200
        ecr.set_repository_policy(
            repositoryName=repository, policyText=deny(OTHER_ACCOUNT, "ecr:BatchGetImage")
        )
        assert other_v2.get_manifest(repository, "1").status_code == 403
        ecr.delete_repository_policy(repositoryName=repository)
        assert other_v2.get_manifest(repository, "1").status_code == 403


def test_20_another_accounts_settings(ecr, other_account, repository):
    """Every operation on somebody else's repository asks, whatever it is called."""
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{repository}"
    target = {"registryId": ACCOUNT, "repositoryName": repository}
    for call in (
        lambda: other_account.put_image_tag_mutability(imageTagMutability="IMMUTABLE", **target),
        lambda: other_account.put_image_scanning_configuration(
            imageScanningConfiguration={"scanOnPush": True}, **target
        ),
        lambda: other_account.set_repository_policy(
            policyText=allow(OTHER_ACCOUNT, "ecr:*"), **target
        ),
        lambda: other_account.delete_repository_policy(**target),
        lambda: other_account.tag_resource(resourceArn=arn, tags=[{"Key": "a", "Value": "b"}]),
        lambda: other_account.untag_resource(resourceArn=arn, tagKeys=["a"]),
        lambda: other_account.delete_repository(force=True, **target),
    ):
        with refused("AccessDeniedException"):
            call()
    found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
    assert found["imageTagMutability"] == "MUTABLE"
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == []
