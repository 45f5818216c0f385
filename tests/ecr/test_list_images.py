"""ListImages, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html
"""

from support.api import no_repository, push, put_image, refused
from support.images import image


def test_an_element_for_each_tag(ecr, v2, repository, pushed):
    put_image(ecr, repository, pushed, "2")
    untagged = image()
    v2.push(repository, untagged)
    found = ecr.list_images(repositoryName=repository)["imageIds"]
    assert len(found) == 3
    assert {"imageDigest": pushed.digest, "imageTag": "1"} in found
    assert {"imageDigest": pushed.digest, "imageTag": "2"} in found
    assert {"imageDigest": untagged.digest} in found


def test_filters(ecr, repository, pushed):
    untagged = image()
    push(ecr, repository, untagged)

    def listed(**filters):
        answer = ecr.list_images(repositoryName=repository, filter=filters)
        return {it["imageDigest"] for it in answer["imageIds"]}

    assert listed(tagStatus="TAGGED") == {pushed.digest}
    assert listed(tagStatus="UNTAGGED") == {untagged.digest}
    assert listed(tagStatus="ANY") == {pushed.digest, untagged.digest}
    assert listed(imageStatus="ARCHIVED") == set()
    assert listed(imageStatus="ANY") == {pushed.digest, untagged.digest}


def test_an_unknown_filter_is_refused(ecr, repository):
    with refused("InvalidParameterException"):
        ecr.list_images(repositoryName=repository, filter={"tagStatus": "SOME"})


def test_pages_hold_everything_once(ecr, v2, repository):
    wanted = set()
    for number in range(4):
        made = image()
        v2.push(repository, made, f"a{number}")
        put_image(ecr, repository, made, f"b{number}")
        wanted |= {(made.digest, f"a{number}"), (made.digest, f"b{number}")}
    untagged = image()
    v2.push(repository, untagged)
    wanted.add((untagged.digest, None))
    pages = list(
        ecr.get_paginator("list_images").paginate(
            repositoryName=repository, PaginationConfig={"PageSize": 3}
        )
    )
    # A page never holds more than was asked for, and only the last has no token.
    assert all(1 <= len(page["imageIds"]) <= 3 for page in pages)
    found = [(it["imageDigest"], it.get("imageTag")) for page in pages for it in page["imageIds"]]
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_a_page_of_one_walks_the_tags_of_one_image(ecr, repository, pushed):
    for number in range(2, 6):
        put_image(ecr, repository, pushed, str(number))
    pages = ecr.get_paginator("list_images").paginate(
        repositoryName=repository, PaginationConfig={"PageSize": 1}
    )
    found = [it["imageTag"] for page in pages for it in page["imageIds"]]
    assert sorted(found) == ["1", "2", "3", "4", "5"]


def test_a_token_is_for_its_own_question(ecr, v2, repository, second_repository):
    for tag in ("1", "2"):
        v2.push(repository, image(), tag)
    token = ecr.list_images(repositoryName=repository, maxResults=1)["nextToken"]
    with refused("InvalidParameterException"):
        ecr.list_images(repositoryName=second_repository, nextToken=token)
    with refused("InvalidParameterException"):
        ecr.list_images(repositoryName=repository, filter={"tagStatus": "TAGGED"}, nextToken=token)
    with refused("InvalidParameterException"):
        ecr.describe_images(repositoryName=repository, nextToken=token)
    assert len(ecr.list_images(repositoryName=repository, nextToken=token)["imageIds"]) == 1


def test_a_page_has_a_limit(ecr, repository):
    with refused(
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: "
        "'Member must have value less than or equal to 1000'",
    ):
        ecr.list_images(repositoryName=repository, maxResults=1001)


def test_an_empty_repository(ecr, repository):
    answer = ecr.list_images(repositoryName=repository)
    assert answer["imageIds"] == []
    assert "nextToken" not in answer


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        ecr.list_images(repositoryName=name)
