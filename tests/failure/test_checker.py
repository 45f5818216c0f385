"""The checker of histories itself: on histories written by hand, and against trying everything."""

import itertools
import random

import pytest

from support.history import ANYTHING, Operation, violations

GONE = float("inf")


def op(kind, value, start, end, register="tag"):
    return Operation(register, kind, value, start, end)


GOOD = {
    "nothing": [],
    "one after the other": [op("write", "a", 0, 1), op("read", "a", 2, 3)],
    "read before any write": [op("read", None, 0, 1), op("write", "a", 2, 3)],
    "a write that is under way may be seen": [op("write", "a", 0, 9), op("read", "a", 1, 2)],
    "or not yet": [op("write", "a", 0, 9), op("read", None, 1, 2), op("read", "a", 3, 4)],
    "two writes at once, either order": [
        op("write", "a", 0, 5),
        op("write", "b", 0, 5),
        op("read", "b", 6, 7),
        op("read", "b", 8, 9),
    ],
    "the earlier answer wrote later": [
        op("write", "a", 0, 2),
        op("write", "b", 1, 9),
        op("read", "b", 3, 4),
    ],
    "taken": [op("write", "a", 0, 1), op("take", "a", 2, 3), op("read", None, 4, 5)],
    "taken, whatever it was": [op("write", "a", 0, 1), op("take", ANYTHING, 2, 3)],
    "in doubt and not done": [
        op("write", "a", 0, 1),
        op("write", "b", 2, GONE),
        op("read", "a", 3, 4),
    ],
    "in doubt and done late": [
        op("write", "b", 0, GONE),
        op("read", None, 1, 2),
        op("write", "a", 3, 4),
        op("read", "a", 5, 6),
        op("read", "b", 7, 8),
    ],
    "an erase in doubt": [
        op("write", "a", 0, 1),
        op("erase", None, 2, GONE),
        op("read", None, 3, 4),
    ],
    "what is in doubt feeds a take": [op("write", "a", 0, GONE), op("take", ANYTHING, 1, 2)],
    "a read in doubt": [op("read", "z", 0, GONE)],
    "registers are apart": [op("write", "a", 0, 1), op("read", None, 2, 3, "other")],
}

BAD = {
    "never written": [op("read", "a", 0, 1)],
    "stale": [op("write", "a", 0, 1), op("write", "b", 2, 3), op("read", "a", 4, 5)],
    "lost": [op("write", "a", 0, 1), op("read", None, 2, 3)],
    "seen from the future": [op("read", "a", 0, 1), op("write", "a", 2, 3)],
    "new, then old": [
        op("write", "a", 0, 1),
        op("write", "b", 2, 9),
        op("read", "b", 3, 4),
        op("read", "a", 5, 6),
    ],
    "two readers disagree on the order": [
        op("write", "a", 0, 9),
        op("write", "b", 0, 9),
        op("read", "a", 10, 11),
        op("read", "b", 12, 13),
    ],
    "taken twice": [
        op("write", "a", 0, 1),
        op("take", "a", 2, 5),
        op("take", ANYTHING, 2, 5),
    ],
    "taken from nothing": [op("take", ANYTHING, 0, 1)],
    "taken, and there": [op("write", "a", 0, 1), op("take", "a", 2, 3), op("read", "a", 4, 5)],
    "in doubt is done once": [
        op("write", "b", 0, GONE),
        op("read", "b", 1, 2),
        op("write", "a", 3, 4),
        op("read", "b", 5, 6),
    ],
    "in doubt is not done before it was asked": [
        op("read", "b", 0, 1),
        op("write", "b", 2, GONE),
    ],
    "one register of two": [
        op("write", "a", 0, 1, "other"),
        op("read", "a", 2, 3, "other"),
        op("write", "a", 0, 1),
        op("read", "b", 2, 3),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history(name):
    assert not violations(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history(name):
    assert len(violations(BAD[name])) == 1, name


def is_linearizable(operations):
    """The same by trying every subset of what is in doubt in every order."""
    known = [it for it in operations if not it.in_doubt]
    doubtful = [it for it in operations if it.in_doubt and it.kind != "read"]
    for size in range(len(doubtful) + 1):
        for chosen in itertools.combinations(doubtful, size):
            if any(fits(order) for order in itertools.permutations(known + list(chosen))):
                return True
    return False


def fits(order):
    value, latest = None, -1
    for operation in order:
        if operation.end < latest:
            return False
        latest = max(latest, operation.start)
        ok, value = operation.after(value)
        if not ok:
            return False
    return True


def test_the_search_finds_what_trying_everything_finds():
    chance = random.Random(1)
    verdicts = []
    for _ in range(1500):
        history = []
        for _ in range(chance.randint(2, 6)):
            start = chance.randrange(20)
            end = GONE if chance.random() < 0.2 else start + chance.randrange(1, 10)
            kinds = ["write", "read", "erase"] if end == GONE else ["write", "read", "read", "take"]
            kind = chance.choice(kinds)
            value = chance.choice(["a", "b", ANYTHING if kind == "take" else None])
            value = value or ("a" if kind in ("write", "take") else None)
            history.append(op(kind, value, start, end))
        expected = is_linearizable(history)
        assert (not violations(history)) == expected, [str(it) for it in history]
        verdicts.append(expected)
    assert 300 < sum(verdicts) < 1200, "the histories are nearly all good, or all bad"
