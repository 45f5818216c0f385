"""Pushing, pulling and deleting manifests.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
"""

import json

import pytest

from support.images import (
    ALL_TYPES,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    artifact,
    digest,
    image,
    index,
)
from support.policies import deny
from support.server import ACCOUNT
from support.v2 import V2, error_code


def test_a_push_and_a_pull(v2, repository):
    made = image()
    answer = v2.push(repository, made, "1")
    assert answer.headers["Docker-Content-Digest"] == made.digest
    assert answer.headers["Location"].startswith(f"/v2/{repository}/manifests/")
    for reference in ("1", made.digest):
        got = v2.get_manifest(repository, reference)
        headed = v2.get_manifest(repository, reference, method="HEAD")
        assert got.content == made.manifest
        assert headed.content == b""
        for one in (got, headed):
            assert one.status_code == 200
            assert one.headers["Docker-Content-Digest"] == made.digest
            assert one.headers["Content-Type"] == OCI_MANIFEST
            assert one.headers["Content-Length"] == str(len(made.manifest))


def test_the_api_sees_it(v2, ecr, repository):
    made = index()
    v2.push(repository, made, "all")
    ids = ecr.list_images(repositoryName=repository)["imageIds"]
    assert {"imageDigest": made.digest, "imageTag": "all"} in ids
    assert {it["imageDigest"] for it in ids} == {made.digest, *(it.digest for it in made.children)}


def test_the_same_again_is_no_error(v2, ecr, repository):
    made = image()
    v2.push(repository, made, "1")
    for mode in ("MUTABLE", "IMMUTABLE"):
        ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability=mode)
        assert v2.put_manifest(repository, "1", made).status_code == 201
        assert v2.put_manifest(repository, made.digest, made).status_code == 201


def test_an_immutable_tag(v2, ecr, repository):
    first, second = image(), image()
    v2.push(repository, first, "1")
    v2.push(repository, second)
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    answer = v2.put_manifest(repository, "1", second)
    assert (answer.status_code, error_code(answer)) == (400, "TAG_INVALID")
    assert "cannot be overwritten because the" in answer.json()["errors"][0]["message"]
    assert v2.get_manifest(repository, "1").content == first.manifest


def test_several_tags_at_once(v2, ecr, repository):
    made = image()
    v2.push(repository, made)
    answer = v2.put_manifest(repository, f"{made.digest}?tag=a&tag=b&tag=c", made)
    assert answer.status_code == 201
    listed = [tag.strip() for tag in answer.headers["OCI-Tag"].split(",")]
    assert sorted(listed) == ["a", "b", "c"]
    assert v2.get(f"/v2/{repository}/tags/list").json()["tags"] == ["a", "b", "c"]
    details = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert [sorted(it["imageTags"]) for it in details] == [["a", "b", "c"]]


def test_one_bad_tag_of_several_stops_all(v2, repository):
    made = image()
    v2.push(repository, made)
    answer = v2.put_manifest(repository, f"{made.digest}?tag=good&tag=-bad", made)
    assert answer.status_code == 400
    assert v2.get(f"/v2/{repository}/tags/list").json()["tags"] == []


def test_one_immutable_tag_of_several_stops_all(v2, ecr, repository):
    first, second = image(), image()
    v2.push(repository, first, "taken")
    v2.push(repository, second)
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    answer = v2.put_manifest(repository, f"{second.digest}?tag=free&tag=taken", second)
    assert (answer.status_code, error_code(answer)) == (400, "TAG_INVALID")
    assert v2.get(f"/v2/{repository}/tags/list").json()["tags"] == ["taken"]


def test_a_missing_blob_is_named(v2, repository):
    made = image()
    v2.push_blob(repository, made.blobs[0].data)
    answer = v2.put_manifest(repository, "1", made)
    assert answer.status_code == 404
    assert error_code(answer) == "MANIFEST_BLOB_UNKNOWN"
    assert made.blobs[1].digest in answer.json()["errors"][0]["message"]
    assert v2.get_manifest(repository, "1").status_code == 404


def test_a_missing_child_is_named(v2, repository):
    made = index()
    v2.push(repository, made.children[0])
    answer = v2.put_manifest(repository, "1", made)
    assert answer.status_code == 404
    assert error_code(answer) == "MANIFEST_BLOB_UNKNOWN"
    assert made.children[1].digest in answer.json()["errors"][0]["message"]


def test_a_sparse_index_where_they_are_allowed(fresh_registry):
    registry = fresh_registry("[images]\nsparse_indexes = true\n")
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    made = index()
    v2.push("app", made.children[0])
    assert v2.put_manifest("app", "1", made).status_code == 201
    assert v2.get_manifest("app", "1").content == made.manifest
    assert v2.get_manifest("app", made.children[1].digest).status_code == 404


def test_a_wrong_digest(v2, repository):
    made = image()
    v2.push(repository, made)
    answer = v2.put_manifest(repository, "sha256:" + "0" * 64, made)
    assert answer.status_code == 400
    assert error_code(answer) in ("DIGEST_INVALID", "MANIFEST_INVALID")


def test_sha512(v2, repository):
    made = image()
    v2.push(repository, made)
    wanted = digest(made.manifest, "sha512")
    answer = v2.put_manifest(repository, wanted, made)
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == wanted
    assert v2.get_manifest(repository, wanted).content == made.manifest


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", OCI_MANIFEST),
        (b"junk", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"{}", OCI_MANIFEST),
        (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
            OCI_MANIFEST,
        ),
        (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
            OCI_MANIFEST,
        ),
        (b'{"schemaVersion":2,"manifests":[]}', "text/html"),
    ],
)
def test_what_is_no_manifest(v2, repository, body, content_type):
    answer = v2.put(
        f"/v2/{repository}/manifests/1", data=body, headers={"Content-Type": content_type}
    )
    assert 400 <= answer.status_code < 500
    assert answer.json()["errors"][0]["code"]
    assert v2.get_manifest(repository, "1").status_code == 404


def test_a_manifest_without_its_type_needs_the_header(v2, repository):
    made = image()
    v2.push(repository, made)
    del made.document["mediaType"]
    assert v2.put_manifest(repository, "1", made).status_code == 201
    assert v2.get_manifest(repository, "1").headers["Content-Type"] == OCI_MANIFEST


def test_a_large_manifest(v2, repository):
    made = image()
    v2.push(repository, made)
    made.document["annotations"] = {"filling": "x" * 3_900_000}
    assert v2.put_manifest(repository, "1", made).status_code == 201
    assert v2.get_manifest(repository, "1").content == made.manifest


def test_a_manifest_that_is_too_large(v2, repository):
    made = image()
    made.document["annotations"] = {"filling": "x" * (4 * 1024 * 1024)}
    answer = v2.put_manifest(repository, "1", made)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "reference", ["-bad", "a:b", "x" * 129, "sha256:abc", "sha256:" + "G" * 64]
)
def test_a_bad_reference(v2, repository, reference):
    answer = v2.put_manifest(repository, reference, image())
    assert answer.status_code == 400
    assert v2.get_manifest(repository, reference).status_code in (400, 404)


def test_a_missing_manifest(v2, repository):
    for reference in ("missing", "sha256:" + "6" * 64):
        answer = v2.get_manifest(repository, reference)
        assert (answer.status_code, error_code(answer)) == (404, "MANIFEST_UNKNOWN")
        assert v2.get_manifest(repository, reference, method="HEAD").status_code == 404


def test_a_missing_repository(v2, name):
    answer = v2.get_manifest(name, "1")
    assert (answer.status_code, error_code(answer)) == (404, "NAME_UNKNOWN")
    answer = v2.put_manifest(name, "1", image())
    assert (answer.status_code, error_code(answer)) == (404, "NAME_UNKNOWN")


def test_what_has_not_changed(v2, repository):
    v2.push(repository, image(), "1")
    path = f"/v2/{repository}/manifests/1"
    accept = {"Accept": ", ".join(ALL_TYPES)}
    tag = v2.get(path, headers=accept).headers["ETag"]
    assert v2.get(path, headers={"If-None-Match": tag, **accept}).status_code == 304
    v2.push(repository, image(), "1")
    assert v2.get(path, headers={"If-None-Match": tag, **accept}).status_code == 200


def test_an_old_client_gets_a_converted_manifest(v2, repository):
    made = image()
    v2.push(repository, made, "1")
    answer = v2.get_manifest(repository, "1", accept=[DOCKER_MANIFEST])
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST
    assert answer.headers["Docker-Content-Digest"] == digest(answer.content)
    assert json.loads(answer.content)["mediaType"] == DOCKER_MANIFEST
    assert (
        v2.get_manifest(repository, made.digest, accept=[DOCKER_MANIFEST]).content == made.manifest
    )


def test_a_refused_form_is_not_given(v2, repository):
    """A weight of 0 refuses (RFC 9110, section 12.4.2)."""
    made = image()
    v2.push(repository, made, "1")
    refused = [f"{OCI_MANIFEST};q=0", f"{DOCKER_MANIFEST};q=0.5"]
    answer = v2.get_manifest(repository, "1", accept=refused)
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST


def test_without_accept_it_comes_as_it_is(v2, repository):
    made = index()
    v2.push(repository, made, "1")
    for accept in (None, "*/*", "application/*"):
        answer = v2.get(f"/v2/{repository}/manifests/1", headers={"Accept": accept})
        assert answer.content == made.manifest
        assert answer.headers["Content-Type"] == OCI_INDEX


def test_a_mirror_may_name_its_origin(v2, repository):
    made = image()
    v2.push(repository, made, "1")
    assert (
        v2.get(
            f"/v2/{repository}/manifests/1?ns=docker.io", headers={"Accept": OCI_MANIFEST}
        ).status_code
        == 200
    )
    assert v2.get(f"/v2/{repository}/blobs/{made.blobs[0].digest}?ns=docker.io").status_code == 200


def test_a_deleted_tag_leaves_the_image(v2, ecr, repository):
    made = image()
    v2.push(repository, made, "1")
    assert v2.delete(f"/v2/{repository}/manifests/1").status_code == 202
    assert v2.get_manifest(repository, "1").status_code == 404
    assert v2.get_manifest(repository, made.digest).content == made.manifest
    assert ecr.list_images(repositoryName=repository)["imageIds"] == [{"imageDigest": made.digest}]
    assert v2.delete(f"/v2/{repository}/manifests/1").status_code == 404


def test_a_deleted_digest_takes_its_tags(v2, ecr, repository):
    made = image()
    v2.push(repository, made, "1")
    v2.put_manifest(repository, "2", made)
    assert v2.delete(f"/v2/{repository}/manifests/{made.digest}").status_code == 202
    for reference in ("1", "2", made.digest):
        assert v2.get_manifest(repository, reference).status_code == 404
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []


def test_a_child_of_an_index_stays(v2, repository):
    made = index()
    v2.push(repository, made, "all")
    child = made.children[0]
    answer = v2.delete(f"/v2/{repository}/manifests/{child.digest}")
    assert (answer.status_code, error_code(answer)) == (405, "UNSUPPORTED")
    assert (
        answer.json()["errors"][0]["message"]
        == f"Requested image referenced by manifest list: [{made.digest}]"
    )
    assert v2.get_manifest(repository, child.digest).content == child.manifest
    assert v2.delete(f"/v2/{repository}/manifests/{made.digest}").status_code == 202
    assert v2.delete(f"/v2/{repository}/manifests/{child.digest}").status_code == 202


def test_deleting_needs_the_right(v2, ecr, repository):
    made = image()
    v2.push(repository, made, "1")
    unused = v2.push_blob(repository, b"unused " + repository.encode())
    ecr.set_repository_policy(
        repositoryName=repository, policyText=deny(ACCOUNT, "ecr:BatchDeleteImage")
    )
    for path in (f"manifests/{made.digest}", "manifests/1", f"blobs/{unused}"):
        answer = v2.delete(f"/v2/{repository}/{path}")
        assert (answer.status_code, error_code(answer)) == (403, "DENIED")
    assert v2.get_manifest(repository, "1").content == made.manifest


def test_a_referrer_tells_its_subject(v2, repository):
    subject = image()
    v2.push(repository, subject, "1")
    answer = v2.push(repository, artifact(subject=subject))
    assert answer.headers["OCI-Subject"] == subject.digest
