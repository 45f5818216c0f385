"""The document of compatibility names every operation that the SDK knows.

The list comes from the SDK, so a new version of it tells us what is new.
"""

import re

import botocore.session
import pytest

from support.tools import ROOT

OPERATIONS = botocore.session.get_session().get_service_model("ecr").operation_names


def rows():
    """Operation name to the text of its row, from the table of docs/compatibility.md."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    found = re.findall(r"^\|\s*`?([A-Z][A-Za-z]+)`?\s*\|(.*)\|\s*$", text, re.MULTILINE)
    return {name: rest for name, rest in found}


def test_the_sdk_knows_as_many_as_we_were_built_for():
    assert len(OPERATIONS) == 62


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_named_with_its_state(operation):
    row = rows().get(operation)
    assert row is not None, f"docs/compatibility.md does not name {operation}"
    assert re.match(r"\s*(same|differs|not yet)\b", row), f"{operation}: same, differs or not yet?"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_state_is_true(raw_ecr, operation):
    """What is not yet there is an unknown operation, and only that."""
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
    try:
        getattr(raw_ecr, method)()
        unknown = False
    except raw_ecr.exceptions.ClientError as error:
        unknown = error.response["Error"]["Code"] == "UnknownOperationException"
    assert unknown == rows()[operation].strip().startswith("not yet")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_there_has_its_tests(operation):
    file = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
    there = (ROOT / "tests" / "ecr" / f"test_{file}.py").exists()
    assert there == (not rows()[operation].strip().startswith("not yet"))
