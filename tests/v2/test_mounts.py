"""Mounting a blob from another repository.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository
"""

import secrets

import pytest

from support.policies import PUSH, allow, deny
from support.server import ACCOUNT, OTHER_ACCOUNT
from support.v2 import V2


@pytest.fixture
def data():
    return secrets.token_bytes(1000)


def mount(v2, target, blob, source=None):
    from_source = f"&from={source}" if source else ""
    return v2.post(f"/v2/{target}/blobs/uploads/?mount={blob}{from_source}")


def test_a_mount(v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    answer = mount(v2, second_repository, blob, repository)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v2/{second_repository}/blobs/{blob}"
    assert answer.headers["Docker-Content-Digest"] == blob
    assert v2.get(answer.headers["Location"]).content == data


def test_a_mount_without_a_source(v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    assert mount(v2, second_repository, blob).status_code == 201
    assert v2.get(f"/v2/{second_repository}/blobs/{blob}").content == data


@pytest.mark.parametrize("source", ["missing", "Bad Name", None])
def test_what_cannot_be_mounted_is_uploaded(v2, name, repository, data, source):
    unknown = "sha256:" + secrets.token_hex(32)
    answer = mount(v2, repository, unknown, f"{name}-missing" if source == "missing" else source)
    assert answer.status_code == 202
    assert answer.headers["Location"].startswith(f"/v2/{repository}/blobs/uploads/")
    assert (
        v2.finish(answer.headers["Location"], v2.push_blob(repository, data), data).status_code
        == 201
    )


def test_a_blob_that_is_there_already(v2, repository, data):
    blob = v2.push_blob(repository, data)
    assert mount(v2, repository, blob, repository).status_code == 201


def test_a_mounted_blob_outlives_its_source(v2, ecr, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    assert mount(v2, second_repository, blob, repository).status_code == 201
    ecr.delete_repository(repositoryName=repository, force=True)
    assert v2.get(f"/v2/{second_repository}/blobs/{blob}").content == data


def test_a_source_that_denies_reading_is_an_upload(ecr, v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    ecr.set_repository_policy(
        repositoryName=repository, policyText=deny(ACCOUNT, "ecr:GetDownloadUrlForLayer")
    )
    for source in (repository, None):
        assert mount(v2, second_repository, blob, source).status_code == 202
    assert v2.head(f"/v2/{second_repository}/blobs/{blob}").status_code == 404


def test_a_stranger_mounts_only_what_he_may_read(
    ecr, v2, other_v2, repository, second_repository, data
):
    blob = v2.push_blob(repository, data)
    ecr.set_repository_policy(
        repositoryName=second_repository, policyText=allow(OTHER_ACCOUNT, *PUSH)
    )
    for source in (repository, f"{repository}-missing", None):
        answer = mount(other_v2, second_repository, blob, source)
        assert answer.status_code == 202
        assert answer.headers["Range"] == "0-0"
    ecr.set_repository_policy(
        repositoryName=repository, policyText=allow(OTHER_ACCOUNT, "ecr:GetDownloadUrlForLayer")
    )
    assert mount(other_v2, second_repository, blob, repository).status_code == 201


def test_a_target_that_denies_pushing(ecr, v2, repository, second_repository, data):
    blob = v2.push_blob(repository, data)
    ecr.set_repository_policy(
        repositoryName=second_repository, policyText=deny(ACCOUNT, "ecr:InitiateLayerUpload")
    )
    assert mount(v2, second_repository, blob, repository).status_code == 403


def test_another_registry_has_its_own_blobs(v2, other_account, registry, name, repository, data):
    # The same bytes, pushed by another account, are nothing to mount here.
    other_account.create_repository(repositoryName=name)
    theirs = V2(
        f"http://127.0.0.1:{registry.port}",
        registry.password(OTHER_ACCOUNT),
        host=registry.registry_host(OTHER_ACCOUNT),
    )
    blob = theirs.push_blob(name, data)
    for source in (name, None):
        assert mount(v2, repository, blob, source).status_code == 202
