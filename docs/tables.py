"""Writes the prices in docs/scale-and-cost.md and in a sentence of README.md, and the parameters in docs/configuration.md.

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

# US dollars, us-east-1, list prices without free tiers: (price, known from).
PRICES = {
    "http_api": (1.00, "2025-05"),  # HTTP API, per million requests, the first 300 million
    "rest_api": (3.50, "2025-05"),  # REST API, per million requests, the first 333 million
    "lambda_request": (0.20, "2026-03"),  # Lambda, per million requests
    "lambda_x86": (0.0000166667, "2026-03"),  # Lambda x86_64, per GB-second
    "read_unit": (0.125, "2025-07"),  # DynamoDB on-demand, per million read units
    "write_unit": (0.625, "2025-07"),  # DynamoDB on-demand, per million write units
    "table_gb": (0.25, "2025-07"),  # DynamoDB storage, per GB and month
    "backup_gb": (0.20, "2025-07"),  # DynamoDB point-in-time recovery, per GB and month
    "kms_key": (1.00, "2026-06"),  # KMS, per key or replica and month
    "log_gb": (0.50, "2026-06"),  # CloudWatch Logs, per GB written
    "alarm_metric": (0.10, "2026-02"),  # CloudWatch, per alarm metric and month
    "own_metric": (0.30, "2026-02"),  # CloudWatch, per custom metric and month
    "dashboard": (3.00, "2026-06"),  # CloudWatch, per dashboard and month
    "composite_alarm": (0.50, "2025-01"),  # CloudWatch, per composite alarm and month
    "insight_rule": (0.50, "2025-01"),  # CloudWatch, per Contributor Insights rule and month
    "trace": (5.00, "2026-06"),  # X-Ray, per million traces
}

# One check. The duration is an assumption until it is measured in AWS.
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
    """What a template's resources cost a month without traffic, custom metrics with data: names of prices, and how many."""
    text = (DOCS.parent / path).read_text()
    blocks = re.split(r"^  (?=\w+:\n)", text.split("\nResources:\n")[1], flags=re.MULTILINE)
    of_type = lambda kind: [block for block in blocks if f"    Type: AWS::{kind}\n" in block]
    return {
        "kms_key": len(of_type("KMS::Key")),
        "alarm_metric": sum(max(1, block.count("MetricStat:")) for block in of_type("CloudWatch::Alarm")),
        "composite_alarm": len(of_type("CloudWatch::CompositeAlarm")),
        "own_metric": len({re.search(r"MetricName: (\w+)", block)[1] for block in of_type("Logs::MetricFilter")}),
        "dashboard": len(of_type("CloudWatch::Dashboard")),
        "insight_rule": len(of_type("CloudWatch::InsightRule")),
    }


def total(path):
    return sum(price(name) * count for name, count in idle(path).items())


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


def of_prices():
    """The table of docs/scale-and-cost.md: dollars, what for, and the oldest price in them."""
    kept, watched = ([name for name, count in idle(path).items() if count] for path in ("template.yaml", "stacks/monitoring.yaml"))
    usage = HOURS_A_MONTH / MILLION * price("write_unit")
    lines = [
        ("template.yaml, a month without traffic", money(total("template.yaml")), kept),
        ("stacks/monitoring.yaml, the same", money(total("stacks/monitoring.yaml")), watched),
        ("1 million requests of an HTTP API", money(price("http_api")), ["http_api"]),
        ("1 million requests of a REST API", money(price("rest_api")), ["rest_api"]),
        ("1 million checks: function and table", money(check(MILLION)), ["lambda_request", "lambda_x86", "read_unit"]),
        ("1 million creates: table", money(2 * price("write_unit")), ["write_unit"]),
        ("Usage: each key in constant use, per instance and month", f"{usage:.4f}", ["write_unit"]),
        ("1 million entries in the access log of a protected API", money(log(MILLION)), ["log_gb"]),
        ("1 million X-Ray traces, with `Tracing=Active`", money(price("trace")), ["trace"]),
        ("1 GB in the table for a month, with its backup", money(price("table_gb") + price("backup_gb")), ["table_gb", "backup_gb"]),
    ]
    yield "prices", ["| What | USD | Known from |", "|---|---:|---|"] + [
        f"| {what} | {dollars} | {min(PRICES[name][1] for name in names)} |" for what, dollars, names in lines
    ]


def with_prices(text):
    """README.md with today's prices in its one sentence about them."""
    keys, monitoring = total("template.yaml"), total("stacks/monitoring.yaml")
    idle, watched, checks = map(money, (keys, keys + monitoring, check(MILLION)))
    sentence = f"Idle, the stack costs at most {idle} USD a month, {watched} with monitoring; a million checks cost {checks} USD."
    text, count = re.subn(r"Idle, the stack costs .* USD\.", sentence, text)
    assert count == 1, "README.md has no sentence about prices"
    return text


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
        rest = re.sub(r"\A\n*(\|.*\n)*\n*", "", after)
        text = before + mark + "\n" + "".join(f"{line}\n" for line in lines) + "\n" * bool(rest) + rest
    return text


def main():
    for checks in sys.argv[1:]:
        if checks.isdigit():
            print(*ways(int(checks)), sep="\n")
            return
    stale = []
    pages = {
        "docs/scale-and-cost.md": lambda text: with_tables(text, of_prices()),
        "docs/configuration.md": lambda text: with_tables(text, of_template()),
        "README.md": with_prices,
    }
    for name, written in pages.items():
        path = DOCS.parent / name
        text = path.read_text()
        new = written(text)
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new)
    if stale and "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run `just generated`")


if __name__ == "__main__":
    main()
