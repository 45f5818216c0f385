"""InitiateLayerUpload, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_InitiateLayerUpload.html
"""

import re

from support.api import no_repository, refused
from support.images import digest
from support.server import ACCOUNT


def test_an_id_and_the_size_of_a_part(ecr, repository):
    answer = ecr.initiate_layer_upload(repositoryName=repository)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["uploadId"])
    assert answer["partSize"] == 10_485_760


def test_every_upload_has_its_own_id(ecr, repository):
    ids = {ecr.initiate_layer_upload(repositoryName=repository)["uploadId"] for _ in range(5)}
    assert len(ids) == 5


def test_it_goes_on_over_the_registry(ecr, v2, repository):
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    data = b"begun by the API, ended over the registry " + repository.encode()
    location = f"/v2/{repository}/blobs/uploads/{upload}"
    assert v2.get(location).status_code == 204
    answer = v2.append(location, data)
    assert answer.status_code == 202
    assert v2.finish(answer.headers["Location"], digest(data)).status_code == 201
    assert v2.get(f"/v2/{repository}/blobs/{digest(data)}").content == data


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.initiate_layer_upload(repositoryName=name)


def test_another_account_is_denied_alike(other_account, repository):
    messages = []
    for name in (repository, repository + "-missing"):
        with refused("AccessDeniedException") as answers:
            other_account.initiate_layer_upload(registryId=ACCOUNT, repositoryName=name)
        messages.append(answers[0]["Error"]["Message"].replace(name, "NAME"))
    assert messages[0] == messages[1]
