#!/usr/bin/env python3
"""Checks what `retail --json` printed.

Usage: check_retail.py REPORT [SAME_AS]

The report's figures must agree with one another, and its totals with those of the report SAME_AS.
"""

import json
import sys
from decimal import Decimal

TOTALS = [
    "rows", "rejected", "orders", "cancelled", "adjusted", "events",
    "revenue_total", "revenue_by_country", "units_by_stock_code", "lines_by_day",
]


def problems(report):
    if not report["rows"] or not report["events"]:
        yield "nothing was read"
    countries = sum(map(Decimal, report["revenue_by_country"].values()))
    if countries != Decimal(report["revenue_total"]):
        yield f"countries sum up to {countries}, not {report['revenue_total']}"
    for destination, published in report["published"].items():
        if published < report["events"]:
            yield f"{destination} got {published} of {report['events']} events"
    for name, consumer in report["consumers"].items():
        lines = report["rows"] - report["rejected"]
        if consumer["handled"] != lines:
            yield f"{name} handled {consumer['handled']} of {lines} lines"
        for count in ("dead_lettered", "order_violations"):
            if consumer[count]:
                yield f"{name} has {consumer[count]} {count}"


def main():
    report, *others = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
    found = list(problems(report))
    for other in others:
        found += [f"{total} differs" for total in TOTALS if report[total] != other[total]]
    copies = {name: consumer["duplicates"] for name, consumer in report["consumers"].items()}
    print(f"{report['rows']} rows, {report['events']} events, {report['revenue_total']} in revenue, "
          f"copies {copies}, {report['elapsed_ms']} ms")
    print("\n".join(found))
    sys.exit(1 if found else 0)


main()
