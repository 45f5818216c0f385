"""PutImageScanningConfiguration, as boto3 sees it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageScanningConfiguration.html
"""

from support.api import no_repository, refused
from support.server import ACCOUNT


def put(ecr, repository, on):
    return ecr.put_image_scanning_configuration(
        repositoryName=repository, imageScanningConfiguration={"scanOnPush": on}
    )


def test_it_is_stored(ecr, repository):
    for on in (True, False, False, True):
        answer = put(ecr, repository, on)
        assert (answer["registryId"], answer["repositoryName"]) == (ACCOUNT, repository)
        assert answer["imageScanningConfiguration"] == {"scanOnPush": on}
        found = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]
        assert found["imageScanningConfiguration"] == {"scanOnPush": on}


def test_without_a_value_it_is_off(ecr, repository):
    put(ecr, repository, True)
    answer = ecr.put_image_scanning_configuration(
        repositoryName=repository, imageScanningConfiguration={}
    )
    assert answer["imageScanningConfiguration"] == {"scanOnPush": False}


def test_the_configuration_is_needed(raw_ecr, repository):
    with refused("InvalidParameterException"):
        raw_ecr.put_image_scanning_configuration(repositoryName=repository)


def test_a_missing_repository(ecr, name):
    with refused("RepositoryNotFoundException", no_repository(name)):
        put(ecr, name, True)
