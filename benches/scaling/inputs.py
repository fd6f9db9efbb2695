"""What the simulation starts from: measured times, the service's own constants, and AWS's limits with their sources.

tests/scaling compares the times with docs/performance.md, and the constants with src/ and template.yaml.
"""

from typing import NamedTuple


class Time(NamedTuple):
    seconds: float
    what: str
    source: str


TIMES = {
    "own": Time(0.001201, "the function's own work", "[measured](performance.md): second request on 7.2 % of a core, p50"),
    "start": Time(0.004431, "start of the process to its first response", "[measured](performance.md): p50"),
    "table": Time(0.0038, "a read or write of DynamoDB, on average", "assumed: the rest of the 5 ms of [cost.md](cost.md)"),
    "environment": Time(0.1, "Lambda prepares an environment", "assumed; AWS: cold starts take [under 100 ms to over 1 s](https://docs.aws.amazon.com/lambda/latest/operatorguide/execution-environments.html)"),
}
# The shape of DynamoDB's times (log-normal): p99 is 2.3 times the mean, which is 9 ms. AWS promises single-digit milliseconds.
TABLE_SIGMA = 0.4
# AWS publishes no time after which an idle environment ends.
IDLE_S = 300.0

# src/aws.rs
MAX_ATTEMPTS = 3
INITIAL_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
# The SDK's retry quota (aws-smithy-runtime, TokenBucket::default): a retry takes 5 of an instance's 500 tokens.
RETRY_TOKENS = 500
RETRY_COST = 5
# src/store/usage.rs
USAGE_HOUR_S = 3600.0
USAGE_JITTER_S = 900.0
USAGE_PAUSE_S = 60.0
USAGE_KEYS = 10_000
# template.yaml, parameters
MAX_READ_UNITS = 3000
MAX_WRITE_UNITS = 500
THROTTLE_RATE = 100
THROTTLE_BURST = 200
# examples/protected-api
STAGE_RATE = 100


class Limit(NamedTuple):
    value: float
    what: str
    url: str


DOCS = "https://docs.aws.amazon.com"
LAMBDA = f"{DOCS}/lambda/latest/dg"
DYNAMODB = f"{DOCS}/amazondynamodb/latest/developerguide"
GATEWAY = f"{DOCS}/apigateway/latest/developerguide"
LIMITS = {
    "gateway_rate": Limit(10_000, "API Gateway: requests per second of all APIs", f"{GATEWAY}/limits.html"),
    "gateway_burst": Limit(5_000, "API Gateway: a burst above it", f"{GATEWAY}/limits.html"),
    "concurrency": Limit(1_000, "Lambda: requests at the same time", f"{LAMBDA}/gettingstarted-limits.html"),
    "invocations": Limit(10, "Lambda: requests per second per unit of that quota", f"{LAMBDA}/gettingstarted-limits.html"),
    "scaling": Limit(1_000, "Lambda: new instances of a function in 10 s", f"{LAMBDA}/scaling-behavior.html"),
    "partition_reads": Limit(3_000, "DynamoDB: read units per second of a partition", f"{DYNAMODB}/bp-partition-key-design.html"),
    "partition_writes": Limit(1_000, "DynamoDB: write units per second of a partition", f"{DYNAMODB}/bp-partition-key-design.html"),
    "table_units": Limit(40_000, "DynamoDB: read units per second of a table", f"{DYNAMODB}/ServiceQuotas.html"),
    "kms": Limit(5_500, "KMS: GenerateMac and the like per second, in the Regions with the lowest quota",
                 f"{DOCS}/kms/latest/developerguide/requests-per-second.html"),
}
SCALING_S = 10.0
