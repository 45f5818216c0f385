"""SetRepositoryPolicy, as boto3 sees it: what it answers, and what it lets others do.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_SetRepositoryPolicy.html
"""

import json

import pytest

from support.api import invalid, no_repository, push, put_image, refused, upload_layer
from support.images import digest, image
from support.policies import PULL, PUSH, allow, denied, deny, not_allowed, policy, statement
from support.server import ACCOUNT, OTHER_ACCOUNT, REGION


def arn_of(repository):
    return f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"


def set_policy(ecr, repository, text, **more):
    return ecr.set_repository_policy(repositoryName=repository, policyText=text, **more)


PRINTED = """{
  "Version" : "2012-10-17",
  "Statement" : [ {
    "Sid" : "pull",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::210987654321:root"
    },
    "Action" : [ "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer" ]
  }, {
    "Effect" : "Deny",
    "Principal" : "*",
    "Action" : "ecr:PutImage",
    "Condition" : {
      "IpAddress" : {
        "aws:SourceIp" : "203.0.113.0/24"
      }
    }
  } ]
}"""


def test_the_text_comes_back_printed(ecr, repository):
    # Members in another order, no white space: the service has its own form.
    text = json.dumps(
        {
            "Statement": [
                {
                    "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
                    "Effect": "Allow",
                    "Sid": "pull",
                },
                {
                    "Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
                    "Action": "ecr:PutImage",
                    "Effect": "Deny",
                    "Principal": "*",
                },
            ],
            "Version": "2012-10-17",
        },
        separators=(",", ":"),
    )
    answer = set_policy(ecr, repository, text)
    assert (answer["registryId"], answer["repositoryName"]) == (ACCOUNT, repository)
    assert answer["policyText"] == PRINTED
    assert ecr.get_repository_policy(repositoryName=repository)["policyText"] == PRINTED


def test_a_policy_replaces_the_one_before(ecr, repository):
    set_policy(ecr, repository, allow(OTHER_ACCOUNT, "ecr:BatchGetImage"))
    set_policy(ecr, repository, allow(OTHER_ACCOUNT, "ecr:ListImages"))
    text = ecr.get_repository_policy(repositoryName=repository)["policyText"]
    assert json.loads(text) == json.loads(allow(OTHER_ACCOUNT, "ecr:ListImages"))


def test_old_versions_ids_and_odd_sids_are_allowed(ecr, repository):
    text = json.dumps(
        {
            "Version": "2008-10-17",
            "Id": "an id",
            "Statement": [
                {
                    "Sid": "with spaces",
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "ecr:BatchGetImage",
                },
                {
                    "Sid": "with spaces",
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "ecr:ListImages",
                },
            ],
        }
    )
    answer = set_policy(ecr, repository, text)
    assert json.loads(answer["policyText"]) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "junk",
        "{}",
        "[]",
        policy({"Effect": "Allow", "Action": "ecr:*"}),
        policy({"Effect": "Maybe", "Principal": "*", "Action": "ecr:*"}),
        policy({"Effect": "Allow", "Principal": "*"}),
        policy(statement("Allow", "*", "ecr:GetAuthorizationToken")),
        policy(
            statement(
                "Allow", "*", "ecr:*", condition={"NoSuchOperator": {"aws:SourceIp": "1.2.3.4"}}
            )
        ),
    ],
)
def test_what_is_no_policy_is_refused(ecr, repository, text):
    with refused(
        "InvalidParameterException", invalid("PolicyText") + "'Invalid repository policy provided'"
    ):
        set_policy(ecr, repository, text)
    with refused("RepositoryPolicyNotFoundException"):
        ecr.get_repository_policy(repositoryName=repository)


def test_a_principal_must_exist(ecr, repository):
    text = policy(
        statement("Allow", {"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}, "ecr:BatchGetImage")
    )
    with refused("InvalidParameterException") as answers:
        set_policy(ecr, repository, text)
    assert answers[0]["Error"]["Message"] in (
        invalid("PolicyText") + "'Principal not found'",
        invalid("PolicyText") + "'Invalid repository policy provided'",
    )


def test_a_policy_has_a_limit(ecr, repository):
    filling = policy(statement("Allow", "*", "ecr:BatchGetImage", sid="x" * 10_240))
    with refused("InvalidParameterException"):
        set_policy(ecr, repository, filling)


def test_nobody_locks_himself_out_without_force(ecr, repository):
    text = deny(ACCOUNT, "ecr:SetRepositoryPolicy", "ecr:DescribeImages")
    with refused("InvalidParameterException"):
        set_policy(ecr, repository, text)
    set_policy(ecr, repository, text, force=True)
    for action, call in (
        (
            "ecr:SetRepositoryPolicy",
            lambda: set_policy(ecr, repository, allow(ACCOUNT, "ecr:*"), force=True),
        ),
        ("ecr:DescribeImages", lambda: ecr.describe_images(repositoryName=repository)),
    ):
        with refused("AccessDeniedException", denied(ACCOUNT, action, arn_of(repository))):
            call()
    ecr.delete_repository_policy(repositoryName=repository)
    ecr.describe_images(repositoryName=repository)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        set_policy(ecr, name, allow(OTHER_ACCOUNT, "ecr:*"))


def test_another_account_reads_what_it_may(ecr, other_account, other_v2, repository, pushed):
    listing = {"registryId": ACCOUNT, "repositoryName": repository}
    with refused(
        "AccessDeniedException", not_allowed(OTHER_ACCOUNT, "ecr:BatchGetImage", arn_of(repository))
    ):
        other_account.batch_get_image(imageIds=[{"imageTag": "1"}], **listing)
    assert other_v2.get_manifest(repository, "1").status_code == 403

    set_policy(ecr, repository, allow(OTHER_ACCOUNT, *PULL))
    got = other_account.batch_get_image(imageIds=[{"imageTag": "1"}], **listing)
    assert got["images"][0]["imageManifest"] == pushed.text
    assert other_v2.get_manifest(repository, "1").content == pushed.manifest
    assert (
        other_v2.get(f"/v2/{repository}/blobs/{pushed.blobs[1].digest}").content
        == pushed.blobs[1].data
    )

    # Reading is all: not writing, not listing.
    with refused("AccessDeniedException"):
        other_account.list_images(**listing)
    answer = other_v2.put_manifest(repository, "2", pushed)
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["message"] == not_allowed(
        OTHER_ACCOUNT, "ecr:PutImage", arn_of(repository)
    )

    # What was given is taken back with the next request.
    ecr.delete_repository_policy(repositoryName=repository)
    assert other_v2.get_manifest(repository, "1").status_code == 403
    with refused("AccessDeniedException"):
        other_account.batch_get_image(imageIds=[{"imageTag": "1"}], **listing)


def test_another_account_pushes_what_it_may(ecr, other_account, other_v2, repository):
    set_policy(ecr, repository, allow(OTHER_ACCOUNT, *PUSH))
    other_v2.push(repository, image(), "over-the-registry")
    made = image()
    target = {"registryId": ACCOUNT, "repositoryName": repository}
    for blob in made.blobs:
        upload = other_account.initiate_layer_upload(**target)["uploadId"]
        other_account.upload_layer_part(
            uploadId=upload,
            partFirstByte=0,
            partLastByte=len(blob.data) - 1,
            layerPartBlob=blob.data,
            **target,
        )
        other_account.complete_layer_upload(uploadId=upload, layerDigests=[blob.digest], **target)
    other_account.put_image(imageManifest=made.text, imageTag="by-the-api", **target)
    found = {it["imageTag"] for it in ecr.list_images(repositoryName=repository)["imageIds"]}
    assert found == {"over-the-registry", "by-the-api"}


def test_everyone_is_every_account(ecr, other_account, repository, pushed):
    set_policy(ecr, repository, policy(statement("Allow", "*", "ecr:BatchGetImage")))
    got = other_account.batch_get_image(
        registryId=ACCOUNT, repositoryName=repository, imageIds=[{"imageTag": "1"}]
    )
    assert len(got["images"]) == 1


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringEquals": {"ecr:ResourceTag/stage": "prod"}}, True),
        ({"StringEquals": {"aws:ResourceTag/stage": "prod"}}, True),
        ({"StringEquals": {"ecr:ResourceTag/stage": "dev"}}, False),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER_ACCOUNT}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
    ],
)
def test_conditions(ecr, other_account, other_v2, repository, pushed, condition, allowed):
    ecr.tag_resource(resourceArn=arn_of(repository), tags=[{"Key": "stage", "Value": "prod"}])
    set_policy(ecr, repository, allow(OTHER_ACCOUNT, "ecr:BatchGetImage", condition=condition))
    assert other_v2.get_manifest(repository, "1").status_code == (200 if allowed else 403)
    call = {"registryId": ACCOUNT, "repositoryName": repository, "imageIds": [{"imageTag": "1"}]}
    if allowed:
        other_account.batch_get_image(**call)
    else:
        with refused("AccessDeniedException"):
            other_account.batch_get_image(**call)


def test_a_deny_outweighs(ecr, other_v2, repository, pushed):
    set_policy(
        ecr,
        repository,
        policy(
            statement("Allow", "*", "ecr:*"),
            statement("Deny", {"AWS": OTHER_ACCOUNT}, "ecr:BatchGetImage"),
        ),
    )
    answer = other_v2.get_manifest(repository, "1")
    assert answer.status_code == 403
    # Not the sentence of the deny: a stranger would learn from it that the repository exists.
    assert answer.json()["errors"] == [
        {
            "code": "DENIED",
            "message": not_allowed(OTHER_ACCOUNT, "ecr:BatchGetImage", arn_of(repository)),
        }
    ]
    assert other_v2.get(f"/v2/{repository}/tags/list").status_code == 200


def test_the_owner_is_not_exempt_from_a_deny(ecr, v2, repository, pushed):
    set_policy(ecr, repository, deny(ACCOUNT, "ecr:PutImage", "ecr:UploadLayerPart"))
    assert v2.put_manifest(repository, "2", pushed).status_code == 403
    with refused("AccessDeniedException", denied(ACCOUNT, "ecr:PutImage", arn_of(repository))):
        put_image(ecr, repository, pushed, "2")
    with refused("AccessDeniedException"):
        upload_layer(ecr, repository, b"layer", [digest(b"layer")])
    ecr.delete_repository_policy(repositoryName=repository)
    push(ecr, repository, image(), "2")


def test_a_policy_of_one_repository_is_of_no_other(
    ecr, other_v2, v2, repository, second_repository
):
    for target in (repository, second_repository):
        v2.push(target, image(), "1")
    set_policy(ecr, repository, allow(OTHER_ACCOUNT, *PULL))
    assert other_v2.get_manifest(repository, "1").status_code == 200
    assert other_v2.get_manifest(second_repository, "1").status_code == 403
