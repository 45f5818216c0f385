"""Listing what refers to a manifest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

import pytest

from support.images import OCI_INDEX, OCI_MANIFEST, artifact, image, index
from support.v2 import error_code


def test_referrers(v2, repository):
    subject = image()
    v2.push(repository, subject, "1")
    sbom = artifact("application/spdx+json", subject=subject, annotations={"made": "today"})
    v2.push(repository, sbom)
    answer = v2.get(f"/v2/{repository}/referrers/{subject.digest}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert answer.json() == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": sbom.digest,
                "size": len(sbom.manifest),
                "artifactType": "application/spdx+json",
                "annotations": {"made": "today"},
            }
        ],
    }


def test_an_image_as_referrer_has_its_config_type(v2, repository):
    subject = image()
    v2.push(repository, subject)
    v2.push(repository, image(subject=subject))
    found = v2.get(f"/v2/{repository}/referrers/{subject.digest}").json()["manifests"]
    assert [it["artifactType"] for it in found] == ["application/vnd.oci.image.config.v1+json"]


def test_an_index_as_referrer(v2, repository):
    subject = image()
    v2.push(repository, subject)
    made = index([image()], subject=subject, artifact_type="application/vnd.example.list")
    v2.push(repository, made)
    found = v2.get(f"/v2/{repository}/referrers/{subject.digest}").json()["manifests"]
    assert [(it["digest"], it["mediaType"], it["artifactType"]) for it in found] == [
        (made.digest, OCI_INDEX, "application/vnd.example.list")
    ]


def test_a_filter_says_that_it_was_applied(v2, repository):
    subject = image()
    v2.push(repository, subject)
    kinds = ["application/vnd.example.a+json", "application/vnd.example.b"]
    made = [artifact(kind, subject=subject) for kind in kinds]
    for one in made:
        v2.push(repository, one)
    path = f"/v2/{repository}/referrers/{subject.digest}"
    answer = v2.get(path, params={"artifactType": kinds[0]})
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert [it["digest"] for it in answer.json()["manifests"]] == [made[0].digest]
    assert "OCI-Filters-Applied" not in v2.get(path).headers
    assert v2.get(path, params={"artifactType": "application/none"}).json()["manifests"] == []


def test_an_unknown_subject_has_none(v2, repository):
    answer = v2.get(f"/v2/{repository}/referrers/sha256:" + "9" * 64)
    assert answer.status_code == 200
    assert answer.json()["manifests"] == []


def test_a_deleted_referrer_is_gone(v2, repository):
    subject = image()
    v2.push(repository, subject)
    sbom = artifact(subject=subject)
    v2.push(repository, sbom)
    assert v2.delete(f"/v2/{repository}/manifests/{sbom.digest}").status_code == 202
    assert v2.get(f"/v2/{repository}/referrers/{subject.digest}").json()["manifests"] == []


def test_pages_by_size(v2, repository):
    """A page ends at 4 MiB; each of these descriptors is about 1 MiB by its annotation."""
    subject = image()
    v2.push(repository, subject)
    made = [artifact(subject=subject, annotations={"filling": "x" * 1_000_000}) for _ in range(6)]
    for one in made:
        v2.push(repository, one)
    path, found, sizes = f"/v2/{repository}/referrers/{subject.digest}", [], []
    while path:
        answer = v2.get(path)
        sizes.append(len(answer.content))
        found += [it["digest"] for it in answer.json()["manifests"]]
        path = answer.links.get("next", {}).get("url")
    assert sorted(found) == sorted(it.digest for it in made)
    assert len(sizes) >= 2
    assert max(sizes) <= 4 * 1024 * 1024 + 1_100_000


@pytest.mark.parametrize("bad", ["junk", "sha256:abc", "1"])
def test_a_bad_digest(v2, repository, bad):
    answer = v2.get(f"/v2/{repository}/referrers/{bad}")
    assert answer.status_code == 400


def test_a_missing_repository(v2, name):
    answer = v2.get(f"/v2/{name}/referrers/sha256:" + "9" * 64)
    assert (answer.status_code, error_code(answer)) == (404, "NAME_UNKNOWN")
