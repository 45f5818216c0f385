"""ListImageReferrers, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImageReferrers.html
"""

from support.api import no_repository, push, refused
from support.images import OCI_MANIFEST, artifact, image, index


def referrers(ecr, repository, subject, **more):
    return ecr.list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": subject.digest}, **more
    )


def test_a_referrer(ecr, repository, pushed):
    sbom = artifact("application/spdx+json", subject=pushed, annotations={"made": "today"})
    push(ecr, repository, sbom)
    assert referrers(ecr, repository, pushed)["referrers"] == [
        {
            "digest": sbom.digest,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/spdx+json",
            "size": len(sbom.manifest),
            "annotations": {"made": "today"},
            "artifactStatus": "ACTIVE",
        }
    ]


def test_what_the_other_plane_pushed(ecr, v2, repository, pushed):
    answer = v2.push(repository, artifact(subject=pushed))
    assert answer.headers["OCI-Subject"] == pushed.digest
    assert len(referrers(ecr, repository, pushed)["referrers"]) == 1


def test_an_index_may_be_a_referrer(ecr, repository, pushed):
    made = index([image()], subject=pushed, artifact_type="application/vnd.example.list")
    push(ecr, repository, made)
    found = referrers(ecr, repository, pushed)["referrers"]
    assert [(it["digest"], it["artifactType"]) for it in found] == [
        (made.digest, "application/vnd.example.list")
    ]


def test_filters(ecr, repository, pushed):
    kinds = ["application/vnd.example.a", "application/vnd.example.b", "application/vnd.example.c"]
    for kind in kinds:
        push(ecr, repository, artifact(kind, subject=pushed))

    def found(**filters):
        answer = referrers(ecr, repository, pushed, filter=filters)
        return sorted(it["artifactType"] for it in answer["referrers"])

    assert found(artifactTypes=[kinds[1]]) == [kinds[1]]
    assert found(artifactTypes=kinds[:2]) == kinds[:2]
    assert found(artifactTypes=["application/vnd.example.none"]) == []
    assert found(artifactStatus="ARCHIVED") == []
    assert found(artifactStatus="ANY") == kinds
    assert found(artifactStatus="ACTIVE", artifactTypes=[kinds[2]]) == [kinds[2]]


def test_pages(ecr, v2, repository, pushed):
    made = [artifact(subject=pushed) for _ in range(21)]
    for one in made:
        v2.push(repository, one)
    first = referrers(ecr, repository, pushed)
    assert len(first["referrers"]) == 20
    rest = referrers(ecr, repository, pushed, nextToken=first["nextToken"])
    assert len(rest["referrers"]) == 1
    assert "nextToken" not in rest
    found = [it["digest"] for it in first["referrers"] + rest["referrers"]]
    assert sorted(found) == sorted(it.digest for it in made)
    assert len(referrers(ecr, repository, pushed, maxResults=50)["referrers"]) == 21


def test_a_page_has_a_limit(ecr, repository, pushed):
    with refused(
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: "
        "'Member must have value less than or equal to 50'",
    ):
        referrers(ecr, repository, pushed, maxResults=51)


def test_a_token_is_for_its_own_question(ecr, v2, repository, pushed):
    for _ in range(2):
        v2.push(repository, artifact(subject=pushed))
    token = referrers(ecr, repository, pushed, maxResults=1)["nextToken"]
    with refused("InvalidParameterException"):
        referrers(ecr, repository, image(), maxResults=1, nextToken=token)
    with refused("InvalidParameterException"):
        referrers(
            ecr, repository, pushed, nextToken=token, filter={"artifactTypes": ["application/x"]}
        )


def test_an_unknown_subject_has_none(ecr, repository):
    answer = referrers(ecr, repository, image())
    assert answer["referrers"] == []
    assert "nextToken" not in answer


def test_a_subject_that_never_came_has_referrers(ecr, repository):
    subject = image()
    push(ecr, repository, artifact(subject=subject))
    assert len(referrers(ecr, repository, subject)["referrers"]) == 1


def test_a_bad_digest_is_refused(ecr, repository):
    with refused("InvalidParameterException"):
        ecr.list_image_referrers(repositoryName=repository, subjectId={"imageDigest": "junk"})


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        referrers(ecr, name, image())
