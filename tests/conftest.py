"""Fixtures of all tests from outside: a server, callers, repositories and images."""

import base64
import itertools
import json

import pytest

from support import databases
from support.log import keep_secret
from support.server import ACCOUNT, OTHER_ACCOUNT, SERVERS, Server
from support.v2 import V2

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """The server that most tests share, on the engine under test. Two accounts, two regions."""
    server = Server(tmp_path_factory.mktemp("registry") / "data")
    with server:
        yield server
    databases.drop(server.database)


@pytest.fixture
def fresh_registry(tmp_path):
    """Makes servers of the test's own: `fresh_registry(config)` starts one.

    With `start=False` it is not started. All are stopped, and their databases removed, after
    the test.
    """
    made = []

    def make(config="", *, start=True, **options):
        server = Server(tmp_path / f"server{len(made) + 1}", config, **options)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.stop()
    for server in made:
        databases.drop(server.database)


@pytest.fixture(autouse=True)
def clean_logs():
    """Fails the test during which a server complained without being announced to."""
    yield
    complaints = [line for server in SERVERS for line in server.log.new_complaints()]
    assert not complaints, "a server complained:\n" + "\n".join(complaints)


@pytest.fixture(scope="session", autouse=True)
def logs_without_secrets():
    """After the last test: no log of any server holds a secret that was handed out."""
    yield
    found = [secret for server in SERVERS for secret in server.log.secrets()]
    assert not found, "\n".join(found)


@pytest.fixture
def expected_log(registry):
    """Announces WARN or ERROR lines of the shared server: `expected_log(pattern)`."""
    return registry.expect_log


@pytest.fixture(scope="session")
def ecr(registry):
    """boto3's client of the main account's root."""
    return registry.client()


@pytest.fixture(scope="session")
def raw_ecr(registry):
    """The same without boto3's own checks: what it would refuse is sent."""
    return registry.client(parameter_validation=False)


@pytest.fixture(scope="session")
def other_account(registry):
    """boto3's client of the other account's root."""
    return registry.client(OTHER_ACCOUNT)


@pytest.fixture
def name(request):
    """A repository name that no other test has."""
    test = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")
    return f"t{next(NUMBERS)}/{test[:80].rstrip('-')}"


@pytest.fixture
def repository(ecr, name):
    """A new repository of the main account. Its name."""
    ecr.create_repository(repositoryName=name)
    return name


@pytest.fixture
def second_repository(ecr, name):
    """Another new repository of the main account. Its name."""
    ecr.create_repository(repositoryName=f"{name}-second")
    return f"{name}-second"


@pytest.fixture(scope="session")
def v2(registry):
    """`/v2/` as the main account's root."""
    return V2(registry.url, registry.password())


@pytest.fixture(scope="session")
def other_v2(registry):
    """`/v2/` of the main account's registry, as the other account's root."""
    return V2(registry.url, registry.password(OTHER_ACCOUNT))


@pytest.fixture(scope="session")
def nobody_v2(registry):
    """`/v2/` without credentials."""
    return V2(registry.url)


@pytest.fixture
def docker_config(registry, tmp_path):
    """A folder for DOCKER_CONFIG with a login to the shared server in it."""
    folder = tmp_path / "docker"
    folder.mkdir()
    login = base64.b64encode(f"AWS:{registry.password(ACCOUNT)}".encode()).decode()
    keep_secret(login)
    (folder / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": login}}}))
    return folder
