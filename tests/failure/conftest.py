"""What the tests of failures share: how long they go on, and chances that can be repeated."""

import os
import random
import subprocess
from contextlib import contextmanager

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


@contextmanager
def mounted(folder, size):
    """A file system in memory of `size`, as mount(8) has it. Whoever used it has ended."""
    folder.mkdir()
    options = f"size={size},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        # Lazily: a server that a failed test left still uses it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk():
    """`with small_disk(folder, size):` mounts a file system in memory."""
    return mounted


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where a real disk would only be waited for."""
    with mounted(tmp_path / "memory", "1g") as folder:
        yield folder
