"""Attacks on lists: numbers and names that are not what they should be (attacks 1 and 2)."""

import pytest

from support.images import image

NUMBERS = [
    "1000000000000000000",
    "9" * 100,
    "-1",
    "-9223372036854775809",
    "0x10",
    "1e18",
    "NaN",
    "٣",
    "1;2",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_1_a_page_size_of_the_catalog(v2, number):
    answer = v2.get("/v2/_catalog", params={"n": number})
    if number.isascii() and number.isdigit():
        assert answer.status_code == 200
        assert len(answer.json()["repositories"]) <= 1000
    else:
        assert answer.status_code == 400


@pytest.mark.parametrize("number", NUMBERS)
def test_2_a_page_size_of_tags(v2, repository, number):
    answer = v2.get(f"/v2/{repository}/tags/list", params={"n": number})
    if number.isascii() and number.isdigit():
        assert answer.status_code == 200
    else:
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "last",
    [
        "%00",
        "%FF%FE",
        "a%0D%0AX-Injected:%201",
        "' OR '1'='1",
        "x" * 5000,
        "../../etc/passwd",
        "%",
        "%zz",
    ],
)
def test_2_a_last_of_weird_bytes(v2, repository, last):
    v2.push(repository, image(), "1")
    for path in (f"/v2/{repository}/tags/list", "/v2/_catalog"):
        answer = v2.get(f"{path}?n=1&last={last}")
        assert answer.status_code in (200, 400, 414, 431), answer.status_code
        assert "X-Injected" not in answer.headers
