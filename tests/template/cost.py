"""The numbers of docs/cost.md. `python tests/template/cost.py` prints its tables; change a price here and print again."""

MILLION = 1_000_000
HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
GB = 10**9

# US dollars, us-east-1, list prices without free tiers: (price, what for, known from).
PRICES = {
    "http_api": (1.00, "HTTP API, a million requests, the first 300 million", "2025-05"),
    "rest_api": (3.50, "REST API, a million requests, the first 333 million", "2025-05"),
    "lambda_request": (0.20, "Lambda, a million requests", "2026-03"),
    "lambda_x86": (0.0000166667, "Lambda x86_64, a GB-second", "2026-03"),
    "lambda_arm": (0.0000133334, "Lambda arm64, a GB-second", "2026-03"),
    "read_unit": (0.125, "DynamoDB on-demand, a million read units", "2025-07 (since 2024-11-01)"),
    "write_unit": (0.625, "DynamoDB on-demand, a million write units", "2025-07 (since 2024-11-01)"),
    "table_gb": (0.25, "DynamoDB, a GB-month", "2025-07"),
    "backup_gb": (0.20, "DynamoDB point-in-time recovery, a GB-month", "2025-07"),
    "kms_key": (1.00, "KMS, a key (or replica) a month", "2026-06"),
    "kms_request": (0.03, "KMS, ten thousand requests", "2026-06"),
    "log_gb": (0.50, "CloudWatch Logs, a GB written", "2026-06"),
    "alarm_metric": (0.10, "CloudWatch, a metric of an alarm, a month", "2026-02"),
    "own_metric": (0.30, "CloudWatch, a metric of one's own, a month", "2026-02"),
    "dashboard": (3.00, "CloudWatch, a dashboard a month", "2026-06"),
    "trace": (5.00, "X-Ray, a million traces", "2026-06"),
}

# What one check takes. The duration is an assumption until AWS has measured it: see docs/cost.md.
MEMORY_GB = 256 / 1024
DURATION_S = 0.005
READ_UNITS = 1  # strongly consistent, an item of up to 4 KB
LOG_BYTES = 300  # the protected API's access log
TRACED_SHARE = 0.05  # X-Ray's default: the first request each second, and 5 % of the others
KEYS = 50  # keys in use all the time
# What the stack holds; a test counts them in template.yaml.
ALARM_METRICS = 18
OWN_METRICS = 4


def price(name):
    return PRICES[name][0]


def authorizer_calls(checks, ttl):
    """The gateway asks once a key and TTL, if each key is used all the time; never more often than there are checks."""
    return checks if ttl == 0 else min(checks, KEYS * SECONDS_A_MONTH / ttl)


def check(calls):
    """The authorizer, or the verify endpoint's function, and the table: dollars for that many calls."""
    millions = calls / MILLION
    lambda_ = millions * price("lambda_request") + calls * MEMORY_GB * DURATION_S * price("lambda_x86")
    return lambda_ + millions * READ_UNITS * price("read_unit")


def traces(calls):
    sampled = min(calls, SECONDS_A_MONTH) + max(0, calls - SECONDS_A_MONTH) * TRACED_SHARE
    return sampled / MILLION * price("trace")


def log(requests):
    return requests * LOG_BYTES / GB * price("log_gb")


def fixed():
    return price("kms_key") + ALARM_METRICS * price("alarm_metric") + OWN_METRICS * price("own_metric") + price("dashboard")


def rows(checks):
    """(name, authorizer calls, gateway, check, X-Ray) of each way to ask for a key."""
    http, rest = (checks / MILLION * price(api) for api in ("http_api", "rest_api"))
    for api, gateway in (("HTTP API", http), ("REST API", rest)):
        for ttl in (0, 60, 300):
            calls = authorizer_calls(checks, ttl)
            caching = f"cached {ttl} s" if ttl else "no caching"
            yield f"{api}, this authorizer, {caching}", calls, gateway, check(calls), traces(calls)
    yield "Verify endpoint (no API of yours)", checks, http, check(checks), traces(checks)
    yield "REST API, API Gateway's own keys", 0, rest, 0, 0


def usage_writes(keys, instances):
    """At most: each instance writes for each key once an hour. An item is below 1 KB; a write whose condition fails costs as much."""
    return keys * HOURS_A_MONTH * instances


def money(dollars):
    return f"{dollars:,.2f}"


def tables():
    yield "prices", ["| Price (USD) | For | Known from |", "|---:|---|---|"] + [
        f"| {dollars:.10f}".rstrip("0").rstrip(".") + f" | {what} | {known} |"
        if dollars < 0.001 else f"| {dollars:.3f} | {what} | {known} |"
        for dollars, what, known in PRICES.values()
    ]
    for checks in (MILLION, 100 * MILLION):
        yield f"{checks // MILLION}M", [
            "| | Authorizer calls | Gateway | Check | X-Ray | Access log | Month |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ] + [
            f"| {name} | {calls:,.0f} | {money(gateway)} | {money(checking)} | {money(tracing)} | {money(log(checks))} "
            f"| {money(gateway + checking + tracing + log(checks))} |"
            for name, calls, gateway, checking, tracing in rows(checks)
        ]
    yield "usage", [
        "| Keys in use all the time | Function instances | Writes, at most | Month, at most |",
        "|---:|---:|---:|---:|",
    ] + [
        f"| {keys:,} | {instances} | {usage_writes(keys, instances):,} "
        f"| {money(usage_writes(keys, instances) / MILLION * price('write_unit'))} |"
        for keys in (KEYS, 1000, 10_000) for instances in (1, 10)
    ]
    yield "fixed", [
        "| Whatever the traffic | Month |",
        "|---|---:|",
        f"| KMS key | {money(price('kms_key'))} |",
        f"| {ALARM_METRICS} alarm metrics | {money(ALARM_METRICS * price('alarm_metric'))} |",
        f"| {OWN_METRICS} metrics of our own, in months when they have data | {money(OWN_METRICS * price('own_metric'))} |",
        f"| Dashboard | {money(price('dashboard'))} |",
        f"| Together | {money(fixed())} |",
    ]


if __name__ == "__main__":
    for name, lines in tables():
        print(f"<!-- {name} -->", *lines, sep="\n", end="\n\n")
