"""Fixtures of the tests of the API."""

import pytest

from support.api import push
from support.images import image


@pytest.fixture
def pushed(ecr, repository):
    """An image that was pushed through the API as `1` to `repository`."""
    made = image()
    push(ecr, repository, made, "1")
    return made
