"""DeleteRepository, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepository.html
"""

from support.api import no_repository, refused
from support.images import image
from support.server import ACCOUNT
from support.v2 import error_code


def test_what_is_deleted_is_told(ecr, repository):
    gone = ecr.delete_repository(repositoryName=repository)["repository"]
    assert gone["repositoryName"] == repository
    assert gone["registryId"] == ACCOUNT
    assert gone["repositoryArn"].endswith(f":repository/{repository}")
    with refused("RepositoryNotFoundException", no_repository(repository)):
        ecr.describe_repositories(repositoryNames=[repository])


def test_it_is_deleted_once(ecr, repository):
    ecr.delete_repository(repositoryName=repository)
    with refused("RepositoryNotFoundException", no_repository(repository)):
        ecr.delete_repository(repositoryName=repository)


def test_images_need_force(ecr, v2, repository):
    v2.push(repository, image(), "1")
    with refused(
        "RepositoryNotEmptyException",
        f"The repository with name '{repository}' in registry with id '{ACCOUNT}' "
        "cannot be deleted because it still contains images",
    ):
        ecr.delete_repository(repositoryName=repository)
    ecr.delete_repository(repositoryName=repository, force=True)
    with refused("RepositoryNotFoundException"):
        ecr.list_images(repositoryName=repository)


def test_untagged_images_need_force_too(ecr, v2, repository):
    v2.push(repository, image())
    with refused("RepositoryNotEmptyException"):
        ecr.delete_repository(repositoryName=repository, force=False)


def test_layers_alone_are_no_images(ecr, v2, repository):
    v2.push_blob(repository, b"only a layer")
    ecr.delete_repository(repositoryName=repository)


def test_the_other_plane_sees_it_at_once(ecr, v2, repository):
    pushed = image()
    v2.push(repository, pushed, "1")
    ecr.delete_repository(repositoryName=repository, force=True)
    for path in (
        "manifests/1",
        f"manifests/{pushed.digest}",
        f"blobs/{pushed.blobs[0].digest}",
        "tags/list",
    ):
        answer = v2.get(f"/v2/{repository}/{path}")
        assert answer.status_code == 404, path
        assert error_code(answer) == "NAME_UNKNOWN", path


def test_a_new_repository_of_that_name_is_empty(ecr, v2, repository):
    pushed = image()
    v2.push(repository, pushed, "1")
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    ecr.tag_resource(
        resourceArn=f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{repository}",
        tags=[{"Key": "old", "Value": "yes"}],
    )
    ecr.delete_repository(repositoryName=repository, force=True)

    made = ecr.create_repository(repositoryName=repository)["repository"]
    assert made["imageTagMutability"] == "MUTABLE"
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == []
    layers = [blob.digest for blob in pushed.blobs]
    answer = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=layers)
    assert {layer["layerAvailability"] for layer in answer["layers"]} == {"UNAVAILABLE"}
    v2.push(repository, pushed, "1")


def test_another_account_is_denied_alike(other_account, repository):
    for name in (repository, repository + "-missing"):
        with refused("AccessDeniedException") as answers:
            other_account.delete_repository(registryId=ACCOUNT, repositoryName=name, force=True)
        assert name in answers[0]["Error"]["Message"]
