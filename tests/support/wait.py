"""Waiting for a condition. The only place that lets time pass: no test sleeps."""

import time


def until(condition, what, seconds=60):
    """Calls `condition` until it gives something true, and returns that.

    The limit is only there so that a broken server ends the test; it measures nothing.
    """
    end = time.monotonic() + seconds
    pause = 0.005
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def hesitate(seconds):
    """Lets a short time pass, so that what comes next meets another moment. Waits for nothing."""
    time.sleep(seconds)
