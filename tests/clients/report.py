"""Runs promises one by one, prints a line for each, and ends with 0 only when all were kept."""

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
    sys.exit(1 if broken else 0)


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"
