"""The tables of docs/scaling.md. `python benches/scaling/simulate.py` prints them, `--write` puts them there; tests/scaling compares.

A few seconds of each load are simulated, after a warm-up. Where a rate would take too long, it and all limits are divided by
`scale`; tests/scaling shows that this changes nothing that the tables say.
"""

import functools
import pathlib
import random
import sys
from dataclasses import replace

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/template"))

import cost
import inputs
from arrivals import one_hot, uniform, zipf
from inputs import LIMITS, TIMES
from model import UNLIMITED, Settings, Simulation

RATES = (1, 10, 100, 1_000, 10_000, 100_000)
KEYS = 1_000
HOT = 0.2
CACHE_S = 60
SPLITS = 6
CHECK_S = TIMES["own"].seconds + TIMES["table"].seconds
COLD_S = TIMES["environment"].seconds + TIMES["start"].seconds


def round_up(number):
    """To one digit and zeros."""
    step = 10 ** (len(str(int(number))) - 1)
    return int(-(-number // step) * step)


def concurrency_quota(rate):
    """Half as much again as the rate needs: for requests at the same time, and for requests per second."""
    return max(int(LIMITS["concurrency"].value), round_up(1.5 * max(rate * CHECK_S, rate / LIMITS["invocations"].value)))


def gateway_quota(rate):
    return max(int(LIMITS["gateway_rate"].value), round_up(1.5 * rate))


def max_read_units(rate):
    """Twice what checks read: enough for lists, and for items above 4 KB."""
    return max(inputs.MAX_READ_UNITS, round_up(2 * rate))


def raised(rate):
    return {"gateway_rate": gateway_quota(rate), "gateway_burst": gateway_quota(rate), "concurrency": concurrency_quota(rate),
            "max_read_units": max_read_units(rate)}


def load(rate, popularity=None, **more):
    """20,000 requests or so: two seconds to ten minutes."""
    base = Settings(rate, popularity or uniform(KEYS), max(2.0, min(600.0, 20_000 / rate)), scale=10 if rate > 10_000 else 1)
    return replace(base, **more)


def growing(rate, popularity):
    """Rounds of a load that lasts, with splits between them."""
    seconds = 3.0 if rate <= 10_000 else 1.0
    return load(rate, popularity, **raised(rate), seconds=seconds, warm_up=seconds, scale=10, rounds=SPLITS + 1)


POPULARITIES = {
    "even keys": uniform(KEYS),
    "Zipf": zipf(random.Random(1), KEYS),
    f"one key {HOT:.0%}".replace("%", " %"): one_hot(KEYS, HOT),
}
LOADS = {("as deployed", rate): load(rate, warm_up=10.0 if rate > inputs.MAX_READ_UNITS else 1.0) for rate in RATES}
GROWING = {(f"limits raised, {name}", rate): growing(rate, popularity)
           for name, popularity in POPULARITIES.items() for rate in (10_000, 100_000)}
LOADS |= GROWING
LOADS |= {(f"as deployed, cached {CACHE_S} s", rate): load(rate, cache_s=CACHE_S, scale=1) for rate in (1_000, 10_000)}
LOADS |= {(f"limits raised, cached {CACHE_S} s", 100_000): load(100_000, **raised(100_000), cache_s=CACHE_S, scale=1)}
LOADS |= {("as deployed, 9 of 10 keys forged", 10_000): load(10_000, forged=0.9)}
VERIFY = {"verify": True, "gateway": "ThrottleRate", "gateway_rate": inputs.THROTTLE_RATE, "gateway_burst": inputs.THROTTLE_BURST}
LOADS |= {("verify endpoint, as deployed", 1_000): load(1_000, **VERIFY)}


# All instances start, as after a deployment that shifts all traffic.
JUMPS = {rate: load(rate, **raised(rate) | {"max_read_units": UNLIMITED, "partition_reads": UNLIMITED}, track_usage=False,
                    steady=False, warm_up=0.0, seconds=1.0, scale=1, rounds=2, splits=False)
         for rate in (100, 1_000, 10_000, 100_000)}
# For as many keys as an instance remembers: an hour after a start without a ceiling, and the first minute with one.
WANTED = {rate: load(rate, uniform(inputs.USAGE_KEYS), **raised(rate), partition_reads=UNLIMITED, max_write_units=UNLIMITED,
                     partition_writes=UNLIMITED, scale=rate / 1_000, seconds=20.0) for rate in (1_000, 10_000, 100_000)}
FIRST = {rate: replace(s, steady=False, warm_up=0.0, seconds=60.0, max_write_units=inputs.MAX_WRITE_UNITS,
                       partition_writes=LIMITS["partition_writes"].value) for rate, s in WANTED.items()}


@functools.cache
def simulation(settings):
    done = Simulation(settings)
    done.run()
    return done


def month(requests, calls, writes=0.0, denied=0.0):
    """Dollars for rates per second that last a month, at the first tier's prices. What the gateway rejects counts as free, and
    a denial's log entry is as long as one of the access log."""
    requests, calls, writes, denied = (each * cost.SECONDS_A_MONTH for each in (requests, calls, writes, denied))
    return (requests / cost.MILLION * cost.price("http_api") + cost.check(calls) + cost.traces(calls) + cost.log(requests + denied)
            + writes / cost.MILLION * cost.price("write_unit"))


def percent(share):
    return "0" if share == 0 else "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"


def milliseconds(seconds):
    return f"{seconds * 1000:.0f}"


def about(number):
    """To two digits."""
    return f"{float(f'{number:.1e}'):,.0f}"


def gives(round):
    return ", ".join(limit for limit, count in round.limits.most_common() if count >= 0.001 * round.arrivals) or "nothing"


def advice(rate):
    """What to set for that many checks per second without a cache."""
    parts = []
    if rate >= inputs.STAGE_RATE:
        parts.append("the protected API's throttle")
    if rate > inputs.STAGE_RATE:
        parts.append("`Tracing=PassThrough`")
    if max_read_units(rate) > inputs.MAX_READ_UNITS:
        parts.append(f"`MaxReadUnits={max_read_units(rate)}`")
    if rate > LIMITS["scaling"].value / COLD_S:
        parts.append("`DeploymentType=Linear10PercentEvery1Minute`")
    quotas = [f"{name} {value:,}" for name, value, default in (
        ("API Gateway", gateway_quota(rate), LIMITS["gateway_rate"].value),
        ("Lambda concurrency", concurrency_quota(rate), LIMITS["concurrency"].value),
        ("DynamoDB table", max_read_units(rate), LIMITS["table_units"].value),
    ) if value > default]
    return "; ".join(parts + (["quotas: " + ", ".join(quotas)] if quotas else [])) or "nothing"


def at():
    yield f"| Checks/s | What gives, as deployed | Share of 200 | p50, p99 ms | Set | $ a month | $ cached {CACHE_S} s | $ that, and no X-Ray |"
    yield "|---:|---|---:|---:|---|---:|---:|---:|"
    for rate in RATES:
        round, = simulation(LOADS["as deployed", rate]).rounds
        cached = min(rate, KEYS / (CACHE_S + KEYS / rate))
        bills = month(rate, rate), month(rate, cached), month(rate, cached) - cost.traces(cached * cost.SECONDS_A_MONTH)
        yield (f"| {rate:,} | {gives(round)} | {percent(round.share(200))} "
               f"| {milliseconds(round.quantile(0.5))}, {milliseconds(round.quantile(0.99))} | {advice(rate)} | "
               + " | ".join(f"{dollars:,.0f}" for dollars in bills) + " |")


def limits():
    def of(name):
        return LIMITS[name].value

    def aws(name, met, seen, raised_by):
        limit = LIMITS[name]
        return f"[{limit.what}]({limit.url})", f"{limit.value:,}", met, seen, raised_by

    stack = (
        ("`ThrottleRate`: verify requests", f"{inputs.THROTTLE_RATE}", f"{inputs.THROTTLE_RATE} by verify", "429", "parameter"),
        ("`MaxReadUnits`", f"{inputs.MAX_READ_UNITS:,}", f"{inputs.MAX_READ_UNITS:,}", "500; verify 503", "parameter"),
        ("`MaxWriteUnits`", f"{inputs.MAX_WRITE_UNITS:,}", "by usage: [below](#usage)", "nothing: usage isn't recorded", "parameter"),
    )
    yield "| Limit | Default | Met at, checks/s | What callers see | Raised by |"
    yield "|---|---:|---|---|---|"
    for cells in (
        *stack,
        aws("partition_reads", f"{of('partition_reads'):,}; of one key, always", "500; verify 503", "DynamoDB, when it splits"),
        aws("partition_writes", "by usage", "nothing: usage isn't recorded", "DynamoDB, when it splits"),
        aws("gateway_rate", f"{of('gateway_rate'):,}, cached or not", "429", "quota"),
        aws("concurrency", about(of("concurrency") / CHECK_S), "500", "quota"),
        aws("invocations", f"{of('invocations') * of('concurrency'):,}", "500", "the quota above"),
        aws("scaling", f"{about(of('scaling') / COLD_S)} at once", "500", "nobody"),
        aws("table_units", f"{of('table_units'):,}", "500; verify 503", "quota"),
        aws("kms", f"never: {2 * 2 * of('scaling'):,} at once [at most](#lambda-kms-and-api-gateway)", "500: the start fails", "quota"),
    ):
        yield "| " + " | ".join(cells) + " |"


def simulated():
    yield "| Load | Checks/s | 200 | 403 | 429 | 5xx | What gives | p50 ms | p99 ms | At the same time | Read units/s | $ a month |"
    yield "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|"
    for (what, rate), s in LOADS.items():
        if rate < 1_000 or (what, rate) in GROWING and rate == 10_000:
            continue  # nothing but what other tables say
        round = simulation(s).rounds[-1]
        each = s.scale / round.seconds
        dollars = month((round.arrivals - round.responses[429]) * each, round.calls * each, round.writes * each, round.responses[403] * each)
        shares = " | ".join(percent(round.share(*statuses)) for statuses in ((200,), (403,), (429,), (500, 503)))
        yield (f"| {what} | {rate:,} | {shares} | {gives(round)} | {milliseconds(round.quantile(0.5))} "
               f"| {milliseconds(round.quantile(0.99))} | {round.in_flight_seconds * each:,.0f} | {round.reads * each:,.0f} | {dollars:,.0f} |")


def splits():
    yield "| Load | Checks/s | " + " | ".join(f"after {n}" if n else "No split" for n in range(SPLITS + 1)) + " | Partitions |"
    yield "|---|---:|" + "---:|" * (SPLITS + 2)
    for (what, rate), s in GROWING.items():
        rounds = simulation(s).rounds
        shares = " | ".join(percent(round.share(500)) for round in rounds)
        yield f"| {what} | {rate:,} | {shares} | {rounds[-1].partitions} |"


def jump():
    yield "| Checks/s, at once | 500 in the first second | In the second one | Instances started | p50 ms | p99 ms |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for rate, s in JUMPS.items():
        first, second = simulation(s).rounds
        yield (f"| {rate:,} | {percent(first.share(500))} | {percent(second.share(500))} | {first.starts + second.starts:,} "
               f"| {milliseconds(first.quantile(0.5))} | {milliseconds(first.quantile(0.99))} |")


def usage():
    yield "| Checks/s | Writes/s wanted, an hour after a start | Recorded/s, in the first minute | Given up/s, in the first minute |"
    yield "|---:|---:|---:|---:|"
    for rate in WANTED:
        wanted, first = (simulation(runs[rate]).rounds[0] for runs in (WANTED, FIRST))
        scale = WANTED[rate].scale
        yield (f"| {rate:,} | {wanted.writes * scale / wanted.seconds:,.0f} | {first.writes * scale / first.seconds:,.0f} "
               f"| {first.unrecorded * scale / first.seconds:,.1f} |")


def times():
    yield "| Time | ms | Source |"
    yield "|---|---:|---|"
    for time in TIMES.values():
        yield f"| {time.what} | {time.seconds * 1000:.1f} | {time.source} |"


TABLES = (at, limits, simulated, splits, jump, usage, times)

def write(document):
    """Puts the tables into the document, in place of those with the same headings."""
    text = document.read_text()
    for table in TABLES:
        rows = list(table())
        start = text.index(rows[0] + "\n")
        text = text[:start] + "\n".join(rows) + text[text.index("\n\n", start):]
    document.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write(ROOT / "docs/scaling.md")
    else:
        for table in TABLES:
            print(f"<!-- {table.__name__} -->", *table(), sep="\n", end="\n\n")
