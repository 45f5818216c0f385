"""The wire protocol of the API: AWS JSON 1.1 with SigV4, sent by hand.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
"""

import datetime
import json
import re

import pytest
import requests

from support.server import OTHER_ACCOUNT
from support.signed import code, presign, request, send, sign
from support.wait import until


def now():
    return datetime.datetime.now(datetime.UTC)


def test_an_answer_has_its_type_and_id(registry):
    answer = send(sign(registry, request(registry, "DescribeRegistry")))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert re.fullmatch(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-amzn-RequestId"]
    )


def test_an_error_has_them_too(registry, name):
    made = request(registry, "DescribeImages", {"repositoryName": name})
    answer = send(sign(registry, made))
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-RequestId"]
    body = answer.json()
    assert body["__type"] == "RepositoryNotFoundException"
    assert set(body) == {"__type", "message"}


def test_times_are_numbers(registry, name):
    made = request(registry, "CreateRepository", {"repositoryName": name})
    answer = send(sign(registry, made)).json()["repository"]
    assert isinstance(answer["createdAt"], (int, float))
    assert abs(answer["createdAt"] - now().timestamp()) < 300
    assert None not in answer.values()


def test_unknown_members_are_ignored(registry, name):
    made = request(registry, "CreateRepository", {"repositoryName": name, "colour": {"deep": [1]}})
    assert send(sign(registry, made)).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null x",
        b'{"repositoryName": 5}',
        b'{"repositoryName": ["a"]}',
        b"\xff",
    ],
)
def test_what_is_no_document_is_refused(registry, data):
    answer = send(sign(registry, request(registry, "CreateRepository", data=data)))
    assert answer.status_code == 400
    assert code(answer) in ("SerializationException", "InvalidParameterException")
    if data not in (b"",):
        assert code(answer) == "SerializationException"


def test_deep_nesting_is_refused(registry):
    data = b'{"a":' * 5000 + b"1" + b"}" * 5000
    answer = send(sign(registry, request(registry, "CreateRepository", data=data)))
    assert answer.status_code == 400


@pytest.mark.parametrize("operation", ["Nothing", "putImage", "", "StartImageScan "])
def test_an_unknown_operation(registry, operation):
    answer = send(sign(registry, request(registry, operation)))
    assert answer.status_code in (400, 404)
    assert code(answer) == "UnknownOperationException"


@pytest.mark.parametrize(
    ("target", "service"),
    [
        ("SpencerFrontendService", "ecr-public"),
        ("TrentService", "kms"),
        ("secretsmanager", "secretsmanager"),
    ],
)
def test_services_that_are_not_here(registry, target, service):
    made = request(registry, "DescribeThings", target=target)
    answer = send(sign(registry, made, service=service))
    assert answer.status_code in (400, 404)
    assert code(answer) == "UnknownOperationException"


def test_no_credentials(registry):
    answer = send(request(registry, "DescribeRepositories"))
    assert answer.status_code in (400, 403)
    assert code(answer) == "MissingAuthenticationTokenException"


def test_an_unknown_key(registry):
    answer = send(
        sign(registry, request(registry, "DescribeRepositories"), key="AKIAABCDEFGHIJKLMNOP")
    )
    assert code(answer) == "UnrecognizedClientException"
    assert answer.json()["message"] == "The security token included in the request is invalid."


def test_a_wrong_secret(registry):
    answer = send(sign(registry, request(registry, "DescribeRepositories"), secret="w" * 40))
    assert code(answer) == "InvalidSignatureException"
    assert answer.json()["message"] == (
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details."
    )


def test_the_secret_of_another_key(registry):
    _, secret = registry.credentials(OTHER_ACCOUNT)
    answer = send(sign(registry, request(registry, "DescribeRepositories"), secret=secret))
    assert code(answer) == "InvalidSignatureException"


def test_a_body_that_was_changed(registry, name):
    made = sign(registry, request(registry, "CreateRepository", {"repositoryName": name}))
    made.data = json.dumps({"repositoryName": name + "x"}).encode()
    assert code(send(made)) == "InvalidSignatureException"


def test_an_operation_that_was_changed(registry, repository):
    made = sign(registry, request(registry, "DescribeImages", {"repositoryName": repository}))
    made.headers.replace_header(
        "X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DeleteRepository"
    )
    assert code(send(made)) == "InvalidSignatureException"


def test_an_operation_that_is_not_signed(registry, repository):
    made = request(registry, "DescribeImages", {"repositoryName": repository})
    del made.headers["X-Amz-Target"]
    sign(registry, made)
    made.headers["X-Amz-Target"] = "AmazonEC2ContainerRegistry_V20150921.DeleteRepository"
    answer = send(made)
    assert answer.status_code in (400, 403)
    assert code(answer) == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-20, -6, 6, 20])
def test_a_clock_that_is_wrong(registry, minutes):
    when = now() + datetime.timedelta(minutes=minutes)
    answer = send(sign(registry, request(registry, "DescribeRegistry"), when=when))
    assert code(answer) == "InvalidSignatureException"
    begin = "Signature expired: " if minutes < 0 else "Signature not yet current: "
    assert answer.json()["message"].startswith(begin)
    assert answer.json()["message"].endswith("5 min.)")


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_a_little_wrong(registry, minutes):
    when = now() + datetime.timedelta(minutes=minutes)
    assert send(sign(registry, request(registry, "DescribeRegistry"), when=when)).status_code == 200


def test_a_region_that_is_not_served(registry):
    answer = send(sign(registry, request(registry, "DescribeRegistry"), region="eu-north-1"))
    assert answer.status_code in (400, 403)
    assert code(answer) == "InvalidSignatureException"
    assert "Credential should be scoped to" in answer.json()["message"]


def test_a_scope_of_another_service(registry):
    answer = send(sign(registry, request(registry, "DescribeRegistry"), service="iam"))
    assert answer.status_code in (400, 403)
    assert code(answer) in ("InvalidSignatureException", "UnknownOperationException")


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA512 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=AKIA, SignedHeaders=host;x-amz-date;x-amz-target, Signature=00",
        "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00",
    ],
)
def test_a_broken_header(registry, header):
    made = request(registry, "DescribeRegistry")
    made.headers["X-Amz-Date"] = now().strftime("%Y%m%dT%H%M%SZ")
    made.headers["Authorization"] = header
    answer = send(made)
    assert answer.status_code in (400, 403)
    assert code(answer) in ("IncompleteSignatureException", "InvalidSignatureException")


def test_a_presigned_request(registry, name):
    made = presign(registry, request(registry, "CreateRepository", {"repositoryName": name}))
    answer = send(made)
    assert answer.status_code == 200, answer.text
    assert answer.json()["repository"]["repositoryName"] == name


def test_a_presigned_request_that_was_changed(registry, name):
    made = presign(registry, request(registry, "CreateRepository", {"repositoryName": name}))
    made.url = made.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    assert code(send(made)) == "InvalidSignatureException"


def test_both_forms_at_once(registry):
    made = presign(registry, request(registry, "DescribeRegistry"))
    made.headers["Authorization"] = sign(registry, request(registry, "DescribeRegistry")).headers[
        "Authorization"
    ]
    assert send(made).status_code in (400, 403)


def test_a_body_has_a_limit(registry):
    made = request(registry, "CreateRepository", data=b'{"a":"' + b"x" * (1024 * 1024) + b'"}')
    sign(registry, made)
    try:
        answer = send(made)
    except requests.ConnectionError:
        # It answered and closed while we were still sending.
        return
    assert answer.status_code in (400, 413)
    assert code(answer) == "RequestEntityTooLargeException"


def test_a_length_is_needed_only_for_much(registry, name):
    made = sign(registry, request(registry, "CreateRepository", {"repositoryName": name}))
    data, made.data = made.data, iter([made.data])
    assert data
    assert send(made).status_code == 200


def test_the_callers_id_stands_beside_ours(registry):
    """Ours is in the answer, so that nobody forges it; the log has both in one line."""
    made = request(registry, "DescribeRegistry")
    made.headers["X-Request-Id"] = "my-own-id-0123456789"
    answer = send(sign(registry, made))
    ours = answer.headers["x-amzn-RequestId"]
    assert answer.headers["X-Request-Id"] == ours != "my-own-id-0123456789"
    until(
        lambda: any(
            ours in line and "my-own-id-0123456789" in line
            for line in registry.log.text().splitlines()
        ),
        "one line has both ids",
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_a_post_is_a_call(registry, method):
    made = sign(registry, request(registry, "DescribeRegistry"))
    made.method = method
    assert send(made).status_code in (400, 403, 404, 405)
