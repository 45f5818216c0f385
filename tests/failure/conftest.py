"""What the tests of failures share: how long they go on, and chances that can be repeated."""

import os
import random

import pytest


@pytest.fixture
def chance():
    """Random numbers. The seed is printed with a failure; `BONDED_SEED` repeats it."""
    seed = int(os.environ.get("BONDED_SEED") or random.SystemRandom().getrandbits(32))
    print(f"BONDED_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def long_form():
    """Whether many rounds are wanted: `scripts/test.sh long` sets BONDED_LONG."""
    return bool(os.environ.get("BONDED_LONG"))
