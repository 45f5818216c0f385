"""What every change leaves behind: an audit record and an event, in the rows of the deployment."""

import json

import pytest

from support.api import push, refused
from support.images import OCI_CONFIG, OCI_MANIFEST, image, index
from support.server import ACCOUNT, OTHER_ACCOUNT, REGION
from support.wait import until


def changes(registry, repository):
    """The audit records of the changes that concern a repository, in order."""
    found = registry.rows("SELECT record FROM audit_record ORDER BY id")
    return [json.loads(row["record"]) for row in found if f'"{repository}"' in row["record"]]


def events(registry, repository):
    """The events of a repository, in order."""
    bodies = [
        json.loads(row["body"]) for row in registry.rows("SELECT body FROM event ORDER BY id")
    ]
    return [it for it in bodies if it["detail"].get("repository-name") == repository]


def keys(registry, attribute, value):
    """The look-up rows that name a value."""
    return registry.rows(
        "SELECT * FROM audit_key WHERE account = ? AND attribute = ? AND value = ?",
        ACCOUNT,
        attribute,
        value,
    )


def test_every_change_has_its_record(registry, ecr, repository):
    made = image()
    push(ecr, repository, made, "1")
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "1"}])
    ecr.delete_repository(repositoryName=repository)
    text = " ".join(json.dumps(record) for record in changes(registry, repository))
    places = [
        text.index(f'"{operation}"')
        for operation in (
            "CreateRepository",
            "InitiateLayerUpload",
            "CompleteLayerUpload",
            "PutImage",
            "PutImageTagMutability",
            "BatchDeleteImage",
            "DeleteRepository",
        )
    ]
    assert places == sorted(places)


def test_a_record_says_who_when_and_from_where(registry, ecr, repository):
    record = json.dumps(changes(registry, repository)[0])
    key, secret = registry.credentials()
    assert "CreateRepository" in record
    assert key in record
    assert ACCOUNT in record
    assert "127.0.0.1" in record
    assert secret not in record


def test_a_change_that_failed_left_nothing(registry, ecr, repository):
    before = len(changes(registry, repository))
    with refused("RepositoryAlreadyExistsException"):
        ecr.create_repository(repositoryName=repository)
    assert len(changes(registry, repository)) == before


def test_a_record_is_found_by_its_keys(registry, ecr, repository):
    access_key, _ = registry.credentials()
    for attribute, value in (
        ("EventName", "CreateRepository"),
        ("AccessKeyId", access_key),
        ("EventSource", "ecr.amazonaws.com"),
    ):
        until(lambda: keys(registry, attribute, value), f"{attribute} {value} has a key row")  # noqa: B023


def test_reads_and_denials_are_recorded(registry, ecr, other_account, repository):
    def blocks():
        return sum(row["records"] for row in registry.rows("SELECT records FROM audit_block"))

    before = blocks()
    ecr.describe_images(repositoryName=repository)
    with refused("AccessDeniedException"):
        other_account.describe_images(registryId=ACCOUNT, repositoryName=repository)
    until(lambda: blocks() >= before + 2, "the read and the denial are written")
    until(lambda: keys(registry, "EventName", "DescribeImages"), "the read has a key row")


def test_a_strict_answer_waits_for_its_record(fresh_registry):
    registry = fresh_registry('[audit]\nreads = "strict"\n')
    registry.client().describe_repositories()
    registry.kill()
    assert keys(registry, "EventName", "DescribeRepositories")


def test_pulls_over_the_registry_are_recorded(registry, ecr, v2, repository):
    made = image()
    push(ecr, repository, made, "1")
    v2.get_manifest(repository, "1")
    v2.get(f"/v2/{repository}/blobs/{made.blobs[1].digest}")
    for operation in ("BatchGetImage", "GetDownloadUrlForLayer"):
        until(lambda: keys(registry, "EventName", operation), f"{operation} has a key row")  # noqa: B023


def test_pushes_over_the_registry_are_recorded_as_the_api(
    registry, v2, repository, second_repository
):
    made = image()
    v2.push(repository, made, "1")
    mount = v2.post(
        f"/v2/{second_repository}/blobs/uploads/?mount={made.blobs[1].digest}&from={repository}"
    )
    assert mount.status_code == 201
    text = json.dumps(changes(registry, repository))
    for operation in ("InitiateLayerUpload", "CompleteLayerUpload", "PutImage"):
        assert f'"{operation}"' in text
    assert '"MountLayer"' in json.dumps(changes(registry, second_repository))


@pytest.mark.parametrize("plane", ["api", "registry"])
def test_a_push_has_its_event(registry, ecr, v2, repository, plane):
    made = image()
    if plane == "api":
        push(ecr, repository, made, "1")
    else:
        v2.push(repository, made, "1")
    event = events(registry, repository)[-1]
    assert event["version"] == "0"
    assert event["detail-type"] == "ECR Image Action"
    assert event["source"] == "aws.ecr"
    assert (event["account"], event["region"]) == (ACCOUNT, REGION)
    assert event["detail"] == {
        "result": "SUCCESS",
        "repository-name": repository,
        "image-digest": made.digest,
        "action-type": "PUSH",
        "image-tag": "1",
        "manifest-media-type": OCI_MANIFEST,
        "artifact-media-type": OCI_CONFIG,
    }


def test_a_delete_has_its_event(registry, ecr, repository):
    made = image()
    push(ecr, repository, made, "1")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "1"}])
    detail = events(registry, repository)[-1]["detail"]
    assert (detail["action-type"], detail["image-digest"], detail["image-tag"]) == (
        "DELETE",
        made.digest,
        "1",
    )


def test_an_event_for_each_image_of_a_push(registry, v2, repository):
    made = index()
    v2.push(repository, made, "all")
    details = [event["detail"] for event in events(registry, repository)]
    assert [detail["image-digest"] for detail in details] == [
        made.children[0].digest,
        made.children[1].digest,
        made.digest,
    ]
    assert [detail.get("image-tag") for detail in details] == [None, None, "all"]


def test_a_refused_push_has_no_event(registry, ecr, repository):
    push(ecr, repository, image(), "1")
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    before = len(events(registry, repository))
    with refused("ImageTagAlreadyExistsException"):
        push(ecr, repository, image(), "1")
    with_tag = [it for it in events(registry, repository)[before:] if "image-tag" in it["detail"]]
    assert with_tag == []


def test_who_moved_a_tag_is_kept(registry, v2, repository):
    first, second = image(), image()
    for made in (first, second):
        v2.push(repository, made, "1")
    rows = registry.rows(
        "SELECT c.* FROM tag_change c JOIN repository r ON r.id = c.repository_id WHERE r.name = ? "
        "AND r.account = ? ORDER BY c.id",
        repository,
        ACCOUNT,
    )
    assert [(row["tag"], row["from_digest"], row["to_digest"]) for row in rows] == [
        ("1", None, first.digest),
        ("1", first.digest, second.digest),
    ]
    assert {row["principal_id"] for row in rows} == {ACCOUNT}


def test_the_other_account_has_its_own_records(registry, other_account, name):
    other_account.create_repository(repositoryName=name)
    found = registry.rows(
        "SELECT account, record FROM audit_record WHERE account = ?", OTHER_ACCOUNT
    )
    assert any(f'"{name}"' in row["record"] for row in found)
