"""Runs promises one by one, prints a line for each and how many there were, and ends with 0 only when all were kept."""

import sys
import traceback


def run(*promises):
    broken = 0
    for promise in promises:
        title = promise.__name__.replace("_", " ")
        try:
            promise()
            print(f"ok      {title}", flush=True)
        except Exception:  # whatever breaks one promise, the others are still worth asking
            broken += 1
            print(f"BROKEN  {title}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{len(promises)} checks, {broken} failed", flush=True)
    sys.exit(1 if broken else 0)


def raises(kind, call, *arguments, **named):
    """The error that a call fails with."""
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, nothing was raised")


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"
