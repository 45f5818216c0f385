"""Attacks by what is stored (attacks 27, 28 and 41)."""

import secrets

import pytest

from support.images import Blob, digest, image
from support.v2 import error_code

HTML = b"<html><script>alert(document.domain)</script></html>"


def test_27_urls_of_layers_are_never_followed(v2, ecr, repository):
    """A layer that says where else it lies is taken by its manifest and fetched by nobody."""
    made = image()
    v2.push(repository, made)
    made.document["layers"].append(
        {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": "sha256:" + "b" * 64,
            "size": 10,
            "urls": ["http://127.0.0.1:1/secret", "http://169.254.169.254/latest/meta-data/"],
        }
    )
    assert v2.put_manifest(repository, "1", made).status_code == 201
    path = f"/v2/{repository}/blobs/sha256:" + "b" * 64
    assert v2.get(path).status_code == 404
    answer = ecr.batch_check_layer_availability(
        repositoryName=repository, layerDigests=["sha256:" + "b" * 64]
    )
    assert answer["layers"][0]["layerAvailability"] == "UNAVAILABLE"


@pytest.mark.parametrize("accept", ["text/html", "*/*", None])
def test_28_a_page_in_a_blob(v2, ecr, nobody_v2, repository, accept):
    page = Blob(HTML, "text/html")
    made = image([page])
    v2.push(repository, made, "1")
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=page.digest)[
        "downloadUrl"
    ]
    for answer in (
        v2.get(f"/v2/{repository}/blobs/{page.digest}", headers={"Accept": accept}),
        nobody_v2.get(url, headers={"Accept": accept}),
    ):
        assert answer.content == HTML
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_28_a_page_in_a_manifest_and_in_an_error(v2, repository):
    made = image(annotations={"page": HTML.decode()})
    v2.push(repository, made, "1")
    answer = v2.get_manifest(repository, "1")
    assert answer.headers["Content-Type"] == made.media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer = v2.get(f"/v2/{repository}/manifests/%3Cscript%3E")
    assert "html" not in answer.headers["Content-Type"]


@pytest.mark.parametrize("way", ["post", "put", "patch", "stream"])
def test_41_bytes_that_do_not_match_their_digest(v2, repository, way):
    data, wanted = secrets.token_bytes(5000), digest(secrets.token_bytes(5000))
    if way == "post":
        answer = v2.post(f"/v2/{repository}/blobs/uploads/?digest={wanted}", data=data)
    elif way == "put":
        answer = v2.finish(v2.start_upload(repository), wanted, data)
    elif way == "patch":
        location = v2.append(v2.start_upload(repository), data, 0).headers["Location"]
        answer = v2.finish(location, wanted)
    else:
        location = v2.patch(v2.start_upload(repository), data=iter([data])).headers["Location"]
        answer = v2.finish(location, wanted)
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")
    for blob in (wanted, digest(data)):
        assert v2.head(f"/v2/{repository}/blobs/{blob}").status_code == 404


def test_41_other_bytes_under_a_known_digest(v2, repository, second_repository):
    """A push of wrong bytes under a digest that exists leaves the bytes that are there."""
    data = secrets.token_bytes(5000)
    blob = v2.push_blob(repository, data)
    for target in (repository, second_repository):
        assert (
            v2.finish(v2.start_upload(target), blob, secrets.token_bytes(5000)).status_code == 400
        )
    assert v2.get(f"/v2/{repository}/blobs/{blob}").content == data
    assert v2.head(f"/v2/{second_repository}/blobs/{blob}").status_code == 404
