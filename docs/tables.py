"""Writes the tables of docs/cost.md and README.md, from the prices below, and of docs/template.md, from the templates.

    python docs/tables.py            writes them
    python docs/tables.py --check    fails if one is out of date
    python docs/tables.py 20000000   prints what that many checks per month cost

A table stands below a line `<!-- table: NAME -->`. Needs nothing but Python.
"""

import pathlib
import re
import sys

DOCS = pathlib.Path(__file__).resolve().parent

MILLION = 1_000_000
HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
GB = 10**9

# US dollars, us-east-1, list prices without free tiers: (price, what for, known from).
PRICES = {
    "http_api": (1.00, "HTTP API, per million requests, the first 300 million", "2025-05"),
    "rest_api": (3.50, "REST API, per million requests, the first 333 million", "2025-05"),
    "lambda_request": (0.20, "Lambda, per million requests", "2026-03"),
    "lambda_x86": (0.0000166667, "Lambda x86_64, per GB-second", "2026-03"),
    "lambda_arm": (0.0000133334, "Lambda arm64, per GB-second", "2026-03"),
    "read_unit": (0.125, "DynamoDB on-demand, per million read units", "2025-07 (since 2024-11-01)"),
    "write_unit": (0.625, "DynamoDB on-demand, per million write units", "2025-07 (since 2024-11-01)"),
    "table_gb": (0.25, "DynamoDB storage, per GB and month", "2025-07"),
    "backup_gb": (0.20, "DynamoDB point-in-time recovery, per GB and month", "2025-07"),
    "kms_key": (1.00, "KMS, per key or replica and month", "2026-06"),
    "kms_request": (0.03, "KMS, per ten thousand requests", "2026-06"),
    "log_gb": (0.50, "CloudWatch Logs, per GB written", "2026-06"),
    "alarm_metric": (0.10, "CloudWatch, per alarm metric and month", "2026-02"),
    "own_metric": (0.30, "CloudWatch, per custom metric and month", "2026-02"),
    "dashboard": (3.00, "CloudWatch, per dashboard and month", "2026-06"),
    "composite_alarm": (0.50, "CloudWatch, per composite alarm and month", "2025-01"),
    "insight_rule": (0.50, "CloudWatch, per Contributor Insights rule and month", "2025-01"),
    "insight_event": (0.02, "CloudWatch, per million log entries that a rule matches", "2025-01"),
    "trace": (5.00, "X-Ray, per million traces", "2026-06"),
}

# One check. The duration is an assumption until it is measured in AWS: see docs/cost.md.
MEMORY_GB = 256 / 1024
DURATION_S = 0.005
READ_UNITS = 1  # strongly consistent, an item of up to 4 KB
LOG_BYTES = 300  # the protected API's access log
TRACED_SHARE = 0.05  # X-Ray's default: the first request in each second, and 5 % of the others
KEYS = 50  # keys in constant use


def price(name):
    return PRICES[name][0]


def authorizer_calls(checks, ttl):
    """If each key is in constant use, the gateway calls once per key and TTL, and never more often than there are checks."""
    return checks if ttl == 0 else min(checks, KEYS * SECONDS_A_MONTH / ttl)


def check(calls):
    """Dollars for a number of calls of the authorizer, or of the verify endpoint's function, and the table."""
    millions = calls / MILLION
    lambda_ = millions * price("lambda_request") + calls * MEMORY_GB * DURATION_S * price("lambda_x86")
    return lambda_ + millions * READ_UNITS * price("read_unit")


def traces(calls):
    sampled = min(calls, SECONDS_A_MONTH) + max(0, calls - SECONDS_A_MONTH) * TRACED_SHARE
    return sampled / MILLION * price("trace")


def log(requests):
    return requests * LOG_BYTES / GB * price("log_gb")


def idle(path):
    """What a template's resources cost a month without traffic: (name of the price, what, how many)."""
    text = (DOCS.parent / path).read_text()
    blocks = re.split(r"^  (?=\w+:\n)", text.split("\nResources:\n")[1], flags=re.MULTILINE)
    of_type = lambda kind: [block for block in blocks if f"    Type: AWS::{kind}\n" in block]
    metrics = sum(max(1, block.count("MetricStat:")) for block in of_type("CloudWatch::Alarm"))
    own = {re.search(r"MetricName: (\w+)", block)[1] for block in of_type("Logs::MetricFilter")}
    return [
        ("kms_key", "KMS keys", len(of_type("KMS::Key"))),
        ("alarm_metric", "Alarm metrics", metrics),
        ("composite_alarm", "Composite alarms", len(of_type("CloudWatch::CompositeAlarm"))),
        ("own_metric", "Custom metrics, in months when they have data", len(own)),
        ("dashboard", "Dashboards", len(of_type("CloudWatch::Dashboard"))),
        ("insight_rule", "Contributor Insights rules, with `UsageLogGroups`", len(of_type("CloudWatch::InsightRule"))),
    ]


def of_idle():
    """Its table for docs/cost.md, and the two totals."""
    columns = [idle("template.yaml"), idle("stacks/monitoring.yaml")]
    totals = [sum(price(name) * count for name, _, count in column) for column in columns]
    cells = lambda rows: " | ".join(f"{count} × {money(price(name))}" if count else "" for name, _, count in rows)
    return [
        "| Independent of traffic, per month | template.yaml | stacks/monitoring.yaml |",
        "|---|---:|---:|",
        *(f"| {rows[0][1]} | {cells(rows)} |" for rows in zip(*columns)),
        f"| Total | {money(totals[0])} | {money(totals[1])} |",
    ], totals


def rows(checks):
    """(name, authorizer calls, gateway, check, X-Ray) of each way to check keys."""
    http, rest = (checks / MILLION * price(api) for api in ("http_api", "rest_api"))
    for api, gateway in (("HTTP API", http), ("REST API", rest)):
        for ttl in (0, 60, 300):
            calls = authorizer_calls(checks, ttl)
            caching = f"cached {ttl} s" if ttl else "no caching"
            yield f"{api}, this authorizer, {caching}", calls, gateway, check(calls), traces(calls)
    yield "Verify endpoint (no API of yours)", checks, http, check(checks), traces(checks)
    yield "REST API, API Gateway's own keys", 0, rest, 0, 0


def usage_writes(keys, instances):
    """At most: each instance writes once per key and hour. An item is below 1 KB; a write whose condition fails costs as much."""
    return keys * HOURS_A_MONTH * instances


def money(dollars):
    return f"{dollars:,.2f}"


def ways(checks):
    """The table of the ways to check keys, for a number of checks per month."""
    return [
        "| Way to check keys | Authorizer calls | Gateway | Check | Access log | Total per month | X-Ray, if active |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ] + [
        f"| {name} | {calls:,.0f} | {money(gateway)} | {money(checking)} | {money(log(checks))} "
        f"| {money(gateway + checking + log(checks))} | {money(tracing)} |"
        for name, calls, gateway, checking, tracing in rows(checks)
    ]


def of_cost():
    """The tables of docs/cost.md by name."""
    yield "prices", ["| Price (USD) | For | Known from |", "|---:|---|---|"] + [
        f"| {dollars:.10f}".rstrip("0").rstrip(".") + f" | {what} | {known} |"
        if dollars < 0.001 else f"| {dollars:.3f} | {what} | {known} |"
        for dollars, what, known in PRICES.values()
    ]
    for checks in (MILLION, 100 * MILLION):
        yield f"{checks // MILLION} million checks", ways(checks)
    yield "usage", [
        "| Keys in constant use | Function instances | Writes, at most | Total per month, at most |",
        "|---:|---:|---:|---:|",
    ] + [
        f"| {keys:,} | {instances} | {usage_writes(keys, instances):,} "
        f"| {money(usage_writes(keys, instances) / MILLION * price('write_unit'))} |"
        for keys in (KEYS, 1000, 10_000) for instances in (1, 10)
    ]
    yield "fixed", of_idle()[0]


def of_readme():
    keys, monitoring = of_idle()[1]
    yield "idle", [
        "| Deployed, without traffic | USD a month, at most |",
        "|---|---:|",
        f"| template.yaml | {money(keys)} |",
        f"| and stacks/monitoring.yaml, which is optional | {money(keys + monitoring)} |",
    ]


def of_template():
    for path in ("template.yaml", "stacks/monitoring.yaml"):
        yield from parameters((DOCS.parent / path).read_text())


def parameters(text):
    """A template's parameters by their group's name, as the console shows them."""
    rows = {}
    for name, body in re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", text.split("\nParameters:\n")[1].split("\nRules:")[0], flags=re.MULTILINE):
        default = re.search(r'^    Default: "?(.*?)"?$', body, flags=re.MULTILINE)
        description = re.search(r"^    Description:(?: >-)?((?: .*)?\n(?:      .*\n)*)", body, flags=re.MULTILINE)
        shown = f"`{default[1]}`" if default[1] else "empty"
        rows[name] = f"| `{name}` | {shown} | {' '.join(description[1].split())} |"
    for group, names in re.findall(r"Label: \{ default: (.+) \}\n +Parameters: \[(.+)\]", text):
        yield group, ["| Parameter | Default | Meaning |", "|---|---|---|", *(rows.pop(name) for name in names.split(", "))]
    assert not rows, f"in no group: {list(rows)}"


def with_tables(text, tables):
    """A document with the tables below their marks."""
    for name, lines in tables:
        mark = f"<!-- table: {name} -->\n"
        assert text.count(mark) == 1, f"{text.count(mark)} times: {mark}"
        before, after = text.split(mark)
        rest = re.sub(r"\A\n*(\|.*\n)*", "", after)
        text = before + mark + "\n" + "".join(f"{line}\n" for line in lines) + rest
    return text


def main():
    for checks in sys.argv[1:]:
        if checks.isdigit():
            print(*ways(int(checks)), sep="\n")
            return
    stale = []
    for name, tables in (("docs/cost.md", of_cost()), ("docs/template.md", of_template()), ("README.md", of_readme())):
        path = DOCS.parent / name
        text = path.read_text()
        new = with_tables(text, tables)
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new)
    if stale and "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run `just docs`")


if __name__ == "__main__":
    main()
