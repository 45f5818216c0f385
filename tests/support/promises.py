"""What a registry must still have: a model of grace times that is fed with what clients saw.

Everything is judged afterwards, from the times of all requests, and only what must hold whatever
the order of what ran at once:

- A blob that was pushed, mounted or reported is in its repository until the grace time is over,
  counted from the earliest moment that the server may have put its stamp. A report alone
  promises three quarters of it, because a stamp may be a quarter old.
- A blob of an image that was put stays as long as the image, and its grace time more.
- An image stays until somebody deletes it.
- A request that deletes the thing while another one asks for it leaves that one free.
"""

import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass

REPORTED = 0.75
WRITTEN = 1.0


@dataclass(frozen=True)
class Span:
    """When something was asked and when it was answered, and for how much of the grace time."""

    start: float
    end: float
    life: float = WRITTEN


class Spans:
    """What happened to one thing, by the time it was asked."""

    def __init__(self):
        self.all = []
        self.starts = []
        self.longest = 0.0

    def add(self, span):
        place = bisect_right(self.starts, span.start)
        self.starts.insert(place, span.start)
        self.all.insert(place, span)
        self.longest = max(self.longest, span.end - span.start)

    def backwards(self, end):
        """Those that were asked before `end`, the latest first."""
        for place in range(bisect_right(self.starts, end) - 1, -1, -1):
            yield self.all[place]

    def during(self, start, end):
        """Those that were under way at some moment of this time, the latest first."""
        for span in self.backwards(end):
            if span.start < start - self.longest:
                return
            if span.end >= start:
                yield span


@dataclass(frozen=True)
class Asked:
    """An answer that tells whether something is there."""

    what: str
    repository: str
    things: tuple
    start: float
    end: float
    found: bool


class Promises:
    """Collects what clients were told, and judges it in the end."""

    def __init__(self, grace):
        self.grace = grace
        self.lock = threading.Lock()
        # By repository and digest.
        self.told = defaultdict(Spans)
        self.stamped = defaultdict(Spans)
        self.deleted_blobs = defaultdict(Spans)
        self.put = defaultdict(Spans)
        self.deleted_images = defaultdict(Spans)
        self.users = defaultdict(set)
        self.blobs = {}
        # By repository.
        self.deleted_repositories = defaultdict(Spans)
        self.missing_repositories = defaultdict(Spans)
        self.asked = []
        self.due = []
        self.counts = Counter()

    # --- what clients saw

    def blob_written(self, repository, blob, start, end):
        """A push or a mount was acknowledged."""
        with self.lock:
            self.told[repository, blob].add(Span(start, end))
            self.stamped[repository, blob].add(Span(start, end))

    def blob_reported(self, repository, blob, start, end):
        """It was said that the blob is there."""
        with self.lock:
            self.told[repository, blob].add(Span(start, end, REPORTED))

    def blob_deleted(self, repository, blob, start, end):
        with self.lock:
            self.deleted_blobs[repository, blob].add(Span(start, end))

    def image_put(self, repository, image, blobs, start, end):
        with self.lock:
            self.blobs[image] = blobs
            for blob in blobs:
                self.users[repository, blob].add(image)
            self.put[repository, image].add(Span(start, end))

    def image_deleted(self, repository, image, start, end):
        """The image was deleted, or perhaps one of its tags alone."""
        with self.lock:
            self.deleted_images[repository, image].add(Span(start, end))
            for blob in self.blobs[image]:
                self.stamped[repository, blob].add(Span(start, end))

    def repository_replaced(self, repository, start, deleted, end):
        """It was deleted and made again: it may be missing until `end`."""
        with self.lock:
            self.deleted_repositories[repository].add(Span(start, deleted))
            self.missing_repositories[repository].add(Span(start, end))

    def blobs_asked(self, what, repository, blobs, start, end, found):
        """An answer that is good only if all these blobs are there."""
        with self.lock:
            self.asked.append(Asked(what, repository, tuple(blobs), start, end, found))

    def image_asked(self, what, repository, image, start, end, found):
        with self.lock:
            self.asked.append(Asked(what, repository, (image,), start, end, found))

    def must_succeed(self, what, repository, start, end, succeeded):
        """A request that can fail only because its repository is missing."""
        with self.lock:
            self.due.append(Asked(what, repository, (), start, end, succeeded))

    # --- what must hold

    def broken(self):
        """Every answer that breaks a promise; `counts` then tells what was judged."""
        found = []
        for asked in self.due:
            gap = any(self.missing_repositories[asked.repository].during(asked.start, asked.end))
            self.counts["writes"] += asked.found
            if not asked.found and not gap:
                found.append(f"failed though the repository is there: {asked}")
        for asked in self.asked:
            is_image = asked.things[0] in self.blobs
            promised = self.is_image_promised if is_image else self.is_blob_promised
            certain = all(
                promised(asked.repository, thing, asked.start, asked.end) for thing in asked.things
            )
            if asked.found:
                self.counts["promised and there"] += certain
            elif certain:
                found.append(f"lost: {asked}")
            elif self.was_collected(asked):
                self.counts["collected"] += 1
        return found

    def is_blob_promised(self, repository, blob, start, end):
        """Whether a blob must be there during a request, whatever ran beside it."""
        key = (repository, blob)
        for told in self.told[key].backwards(start):
            if told.start + self.grace < end:
                break
            if told.end > start or self.is_taken(key, told.start, end):
                continue
            if end <= self.earliest_stamp(key, told) + told.life * self.grace:
                return True
        return any(self.is_kept_by(image, key, start, end) for image in self.users[key].copy())

    def is_kept_by(self, image, key, start, end):
        """Whether an image that uses a blob keeps it there during a request."""
        put = next((it for it in self.put[key[0], image].backwards(start) if it.end <= start), None)
        if put is None or self.is_taken(key, put.start, end):
            return False
        deletions = list(self.deleted_images[key[0], image].during(put.start, end))
        if not deletions:
            return True
        return end <= self.earliest_stamp(key, deletions[-1]) + self.grace

    def earliest_stamp(self, key, span):
        """When the server may have put the blob's stamp, at the earliest: what was under way at
        the same time may have come last, with its own earlier time."""
        beside = self.stamped[key].during(span.start, span.end)
        return min([span.start, *(it.start for it in beside)])

    def is_taken(self, key, start, end):
        """Whether somebody deleted a blob, or all of its repository, during this time."""
        taken = (self.deleted_blobs[key], self.deleted_repositories[key[0]])
        return any(any(spans.during(start, end)) for spans in taken)

    def is_image_promised(self, repository, image, start, end):
        puts = self.put[repository, image].backwards(start)
        put = next((it for it in puts if it.end <= start), None)
        if put is None:
            return False
        gone = (self.deleted_images[repository, image], self.deleted_repositories[repository])
        return not any(any(spans.during(put.start, end)) for spans in gone)

    def was_collected(self, asked):
        """Whether a blob that was told to be there is missing though nobody deleted it."""
        for blob in asked.things:
            key = (asked.repository, blob)
            told = next(self.told[key].backwards(asked.start), None)
            if told and told.end <= asked.start and not self.is_taken(key, told.start, asked.end):
                return True
        return False
