"""PutRegistryPolicy, as boto3 sees it: what it answers, and what it lets others do.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutRegistryPolicy.html

The registry's policy concerns every repository, so these tests have a region to themselves.
"""

import contextlib
import json

import pytest

from support.api import invalid, push, refused
from support.images import image
from support.policies import PULL, allow, denied, not_allowed, policy, statement
from support.server import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION
from support.v2 import V2

ALL = f"arn:aws:ecr:{OTHER_REGION}:{ACCOUNT}:repository/*"


@pytest.fixture
def away(registry):
    """The main account's client in the region whose policy is changed; cleared afterwards."""
    client = registry.client(region=OTHER_REGION)
    yield client
    client.put_account_setting(name="REGISTRY_POLICY_SCOPE", value="V2")
    with contextlib.suppress(client.exceptions.RegistryPolicyNotFoundException):
        client.delete_registry_policy()


@pytest.fixture
def stranger(registry):
    """The other account's client in that region."""
    return registry.client(OTHER_ACCOUNT, OTHER_REGION)


@pytest.fixture
def filled(away, name):
    """A repository of that region with an image tagged `1`."""
    away.create_repository(repositoryName=name)
    push(away, name, image(), "1")
    return name


def pull(client, repository):
    return client.batch_get_image(
        registryId=ACCOUNT, repositoryName=repository, imageIds=[{"imageTag": "1"}]
    )


def test_the_text_comes_back_printed(away):
    text = allow(OTHER_ACCOUNT, "ecr:BatchGetImage", resource=ALL)
    answer = away.put_registry_policy(policyText=text)
    assert answer["registryId"] == ACCOUNT
    assert json.loads(answer["policyText"]) == json.loads(text)
    assert answer["policyText"].startswith('{\n  "Version" : "2012-10-17",\n  "Statement" : [ {\n')
    assert away.get_registry_policy()["policyText"] == answer["policyText"]


def test_a_policy_replaces_the_one_before(away):
    for action in ("ecr:BatchGetImage", "ecr:ListImages"):
        away.put_registry_policy(policyText=allow(OTHER_ACCOUNT, action, resource=ALL))
    text = away.get_registry_policy()["policyText"]
    assert json.loads(text)["Statement"][0]["Action"] == ["ecr:ListImages"]


@pytest.mark.parametrize(
    "text", ["junk", "{}", policy({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"})]
)
def test_what_is_no_policy_is_refused(away, text):
    with refused(
        "InvalidParameterException", invalid("PolicyText") + "'Invalid registry policy provided'"
    ):
        away.put_registry_policy(policyText=text)


def test_a_policy_has_a_limit(away):
    with refused("InvalidParameterException"):
        away.put_registry_policy(
            policyText=policy(statement("Allow", "*", "ecr:*", resource="*", sid="x" * 10_240))
        )


def test_it_grants_every_action(away, stranger, filled):
    with refused("AccessDeniedException"):
        pull(stranger, filled)
    away.put_registry_policy(policyText=allow(OTHER_ACCOUNT, *PULL, resource=ALL))
    assert len(pull(stranger, filled)["images"]) == 1
    away.delete_registry_policy()
    arn = f"arn:aws:ecr:{OTHER_REGION}:{ACCOUNT}:repository/{filled}"
    with refused("AccessDeniedException", not_allowed(OTHER_ACCOUNT, "ecr:BatchGetImage", arn)):
        pull(stranger, filled)


def test_it_grants_on_the_other_plane(registry, away, filled):
    away.put_registry_policy(policyText=allow(OTHER_ACCOUNT, *PULL, resource=ALL))
    password = registry.password(OTHER_ACCOUNT, OTHER_REGION)
    v2 = V2(
        f"http://127.0.0.1:{registry.port}",
        password,
        host=registry.registry_host(region=OTHER_REGION),
    )
    assert v2.get_manifest(filled, "1").status_code == 200
    away.delete_registry_policy()
    assert v2.get_manifest(filled, "1").status_code == 403


def test_only_the_named_repositories(away, stranger, filled):
    away.put_registry_policy(policyText=allow(OTHER_ACCOUNT, *PULL, resource=ALL + "-elsewhere"))
    with refused("AccessDeniedException"):
        pull(stranger, filled)


def test_its_deny_outweighs(away, stranger, filled):
    away.set_repository_policy(repositoryName=filled, policyText=allow(OTHER_ACCOUNT, *PULL))
    away.put_registry_policy(
        policyText=policy(statement("Deny", "*", "ecr:BatchGetImage", resource=ALL))
    )
    arn = f"arn:aws:ecr:{OTHER_REGION}:{ACCOUNT}:repository/{filled}"
    for account, client in ((OTHER_ACCOUNT, stranger), (ACCOUNT, away)):
        with refused("AccessDeniedException", denied(account, "ecr:BatchGetImage", arn)):
            pull(client, filled)


def test_under_scope_v1_only_three_actions_count(away, stranger, filled, name):
    away.put_registry_policy(
        policyText=allow(OTHER_ACCOUNT, "ecr:BatchGetImage", "ecr:CreateRepository", resource=ALL)
    )
    made = f"{name}/made-by-the-other"
    stranger.create_repository(registryId=ACCOUNT, repositoryName=made)
    away.put_account_setting(name="REGISTRY_POLICY_SCOPE", value="V1")
    with refused("AccessDeniedException"):
        pull(stranger, filled)
    stranger.create_repository(registryId=ACCOUNT, repositoryName=made + "-too")
    away.put_account_setting(name="REGISTRY_POLICY_SCOPE", value="V2")
    assert len(pull(stranger, filled)["images"]) == 1


def test_a_region_has_its_own(away, ecr):
    away.put_registry_policy(policyText=allow(OTHER_ACCOUNT, *PULL, resource=ALL))
    with refused("RegistryPolicyNotFoundException"):
        ecr.get_registry_policy()
