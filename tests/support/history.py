"""Linearizability of registers: a checker for recorded concurrent histories.

A history is what clients saw: for each operation when it was asked, when it was answered, and
what the answer was. It is linearizable if every operation can be given one moment between its
two times such that, done one after the other at those moments, all answers are right.

The search is that of Wing and Gong, with Lowe's memory of what was tried: an operation may be
next if none that is left was answered before it was asked; what was placed already and the
value of the register then say all about a position, so none is looked at twice. Registers
are independent, and each is searched on its own.

An operation in doubt, whose answer nobody saw, may be placed at any time after it was asked, or
never. Placing it matters only if the next operation sees what it wrote, so it is placed only
just before one that needs it. That loses no history: any other place for it can be left out.
"""

import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

# A value of a take that is not known: the register had something.
ANYTHING = object()


@dataclass(frozen=True)
class Operation:
    """One operation on one register.

    `write` sets a value. `read` saw one; None is an empty register. `take` emptied a register
    that had the value, or ANYTHING. `erase` empties it whatever it has, and exists in doubt
    only. The end of what is in doubt is infinite.
    """

    register: str
    kind: str
    value: object
    start: float
    end: float
    client: str = ""

    @property
    def in_doubt(self):
        return math.isinf(self.end)

    @property
    def only_looks(self):
        """Whether it changes nothing, whatever the register has."""
        return self.kind == "read"

    def after(self, value):
        """Whether it fits to a register with `value`, and what that has then."""
        if self.kind == "write":
            return True, self.value
        if self.kind == "erase":
            return True, None
        if self.kind == "read":
            return value == self.value, value
        fits = value is not None and self.value in (ANYTHING, value)
        return fits, None

    def __str__(self):
        value = "anything" if self.value is ANYTHING else str(self.value)
        end = "in doubt" if self.in_doubt else f"{self.end:.6f}"
        return f"{self.start:.6f} … {end} {self.client}: {self.kind} {value}"


@dataclass
class Violation:
    """Why a register's history is not linearizable."""

    register: str
    placed: int
    # The operations one of which must be next, and what the register may have by then.
    stuck: list
    values: set = field(default_factory=set)

    def __str__(self):
        lines = [
            f"register {self.register}: after {self.placed} operations it has one of "
            f"{sorted(map(str, self.values))}, and none of these may be next:"
        ]
        return "\n  ".join(lines + [str(operation) for operation in self.stuck])


def violations(operations, initial=None):
    """What is wrong with a history: one `Violation` for each register that is not linearizable.

    Every register has `initial` at first. Other objects than registers are described by classes
    of their own that have what `Operation` has: `after` tells what they do.
    """
    registers = defaultdict(list)
    for operation in operations:
        registers[operation.register].append(operation)
    found = (Search(name, its, initial).run() for name, its in sorted(registers.items()))
    return [violation for violation in found if violation]


class Search:
    """The search for an order of one register's operations.

    A position is (first, placed, used, value): all operations before `first` are placed, and of
    those from it on the ones whose bit is set in `placed`; `used` are the placed ones in doubt.
    """

    def __init__(self, register, operations, initial=None):
        self.register, self.initial = register, initial
        known = [it for it in operations if not it.in_doubt]
        self.known = sorted(known, key=lambda it: (it.start, it.end))
        doubtful = [it for it in operations if it.in_doubt and it.kind in ("write", "erase")]
        self.doubtful = sorted(doubtful, key=lambda it: it.start)

    def run(self):
        """None if there is an order."""
        start = (0, 0, 0, self.initial)
        seen, stack = {start}, [start]
        furthest = []
        while stack:
            position = stack.pop()
            if position[0] == len(self.known):
                return None
            count = placed_in(position)
            if not furthest or count > placed_in(furthest[0]):
                furthest = [position]
            elif count == placed_in(furthest[0]):
                furthest.append(position)
            for following in self.following(position):
                if following not in seen:
                    seen.add(following)
                    stack.append(following)
        return Violation(
            self.register,
            placed_in(furthest[0]),
            [self.known[number] for number in self.candidates(furthest[0])[0]],
            {position[3] for position in furthest},
        )

    def candidates(self, position):
        """The numbers of those that may be next, and the first moment at which one must be."""
        first, placed, _, _ = position
        soonest, numbers = math.inf, []
        for number in range(first, len(self.known)):
            if placed >> (number - first) & 1:
                continue
            operation = self.known[number]
            if operation.start > soonest:
                break
            numbers.append(number)
            soonest = min(soonest, operation.end)
        return numbers, soonest

    def following(self, position):
        """The positions that are one operation further, the likeliest last.

        What only looks and fits is placed at once and nothing else is tried: it changes nothing,
        so an order that has it later is as good with it here.
        """
        _, _, used, value = position
        numbers, soonest = self.candidates(position)
        numbers.sort(key=lambda number: -self.known[number].end)
        for number in numbers:
            operation = self.known[number]
            if operation.only_looks and operation.after(value)[0]:
                return [self.step(position, number, used, value)]
        in_doubt, certain = [], []
        for number in numbers:
            fits, then = self.known[number].after(value)
            if fits:
                certain.append(self.step(position, number, used, then))
                continue
            for other in self.helpers(number, used, soonest):
                then = self.known[number].after(self.doubtful[other].after(None)[1])[1]
                in_doubt.append(self.step(position, number, used | 1 << other, then))
        return in_doubt + certain

    def helpers(self, number, used, soonest):
        """Those in doubt that would make an operation fit: of each value the one asked first."""
        values = set()
        for other, doubtful in enumerate(self.doubtful):
            if doubtful.start > soonest:
                return
            value = doubtful.after(None)[1]
            if used >> other & 1 or value in values:
                continue
            if self.known[number].after(value)[0]:
                values.add(value)
                yield other

    def step(self, position, number, used, value):
        first, placed, _, _ = position
        placed |= 1 << (number - first)
        while placed & 1:
            first, placed = first + 1, placed >> 1
        return first, placed, used, value


def placed_in(position):
    """How many operations are placed in a position, without those in doubt."""
    return position[0] + position[1].bit_count()


class Recorder:
    """Writes down what clients did. Any number of threads may use it at once."""

    def __init__(self, kind=Operation):
        self.kind = kind
        self.operations = []
        self.lock = threading.Lock()

    def record(self, register, client, act):
        """Does `act`, which answers the kind and the value of what happened, and writes it down.

        `act` answers None for what tells nothing, and a third value, True, for what is in doubt.
        """
        start = time.monotonic()
        happened = act()
        end = time.monotonic()
        if happened is None:
            return None
        kind, value, *doubt = happened
        end = math.inf if any(doubt) else end
        operation = self.kind(register, kind, value, start, end, client)
        with self.lock:
            self.operations.append(operation)
        return operation
