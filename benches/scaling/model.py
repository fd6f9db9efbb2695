"""The way of a check: gateway, its cache, Lambda, the authorizer, DynamoDB, and the SDK's retries.

One event loop over simulated time. What a caller sees is a status and, unless it is 200 or 403, the limit that was met.
"""

import collections
import heapq
import itertools
import math
import random
from dataclasses import dataclass, field, replace

import inputs
from arrivals import Popularity, poisson
from inputs import LIMITS, TIMES
from limits import TokenBucket
from table import Table

# What rejects a request, as the documents call it.
INVOCATIONS, CONCURRENCY, SCALING = "Lambda rate", "Lambda concurrency", "Lambda scaling"
READS, PARTITION = "MaxReadUnits", "partition"
UNLIMITED = 10**9


@dataclass(frozen=True)
class Settings:
    """Rates are per second. With `scale`, all rates and counts are divided by it, and multiplied again in the result."""

    rate: float
    popularity: Popularity
    seconds: float = 10.0
    warm_up: float = 1.0
    seed: int = 1
    scale: float = 1.0
    forged: float = 0.0
    cache_s: float = 0.0
    # Instances and their memory of usage are as after an hour of this load, and no bucket has anything saved.
    steady: bool = True
    track_usage: bool = True
    # The verify endpoint responds with 503 where the authorizer fails; its gateway has a rate of its own.
    verify: bool = False
    rounds: int = 1
    splits: bool = True
    gateway: str = "gateway quota"  # its name
    gateway_rate: float = LIMITS["gateway_rate"].value
    gateway_burst: float = LIMITS["gateway_burst"].value
    concurrency: float = LIMITS["concurrency"].value
    invocations: float = LIMITS["invocations"].value
    scaling: float = LIMITS["scaling"].value
    max_read_units: float = inputs.MAX_READ_UNITS
    max_write_units: float = inputs.MAX_WRITE_UNITS
    partition_reads: float = LIMITS["partition_reads"].value
    partition_writes: float = LIMITS["partition_writes"].value
    idle_s: float = inputs.IDLE_S
    own_s: float = TIMES["own"].seconds
    table_s: float = TIMES["table"].seconds
    cold_s: float = TIMES["environment"].seconds + TIMES["start"].seconds

    def scaled(self):
        divided = ("rate", "gateway_rate", "gateway_burst", "concurrency", "scaling", "max_read_units", "max_write_units",
                   "partition_reads", "partition_writes")
        return replace(self, **{name: getattr(self, name) / self.scale for name in divided})


@dataclass
class Round:
    """Counts of the requests that arrived between two splits, after the warm-up."""

    seconds: float
    partitions: int = 0
    arrivals: int = 0
    responses: collections.Counter = field(default_factory=collections.Counter)
    limits: collections.Counter = field(default_factory=collections.Counter)
    latencies: list = field(default_factory=list)
    calls: int = 0
    starts: int = 0
    attempts: int = 0
    most_attempts: int = 0
    reads: int = 0
    rejected: int = 0
    writes: int = 0
    unrecorded: int = 0
    cached: int = 0
    in_flight_seconds: float = 0.0
    peak: int = 0

    def share(self, *statuses):
        return sum(self.responses[status] for status in statuses) / self.arrivals

    def quantile(self, part):
        """Of the requests that got a 200 or 403, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


class Instance:
    """A function instance: one request at a time."""

    __slots__ = ("warm", "recorded", "paused_until", "tokens", "permit", "idle_since")

    def __init__(self, warm):
        self.warm, self.recorded, self.paused_until = warm, set(), 0.0
        self.tokens, self.permit, self.idle_since = 0 if warm else inputs.RETRY_TOKENS, 0, 0.0

    def may_retry(self):
        """The SDK's quota: a retry takes its tokens, and those of the retry before are gone."""
        if self.tokens < inputs.RETRY_COST:
            return False
        self.tokens -= inputs.RETRY_COST
        self.permit = inputs.RETRY_COST
        return True

    def succeeded(self):
        """A success gives the last retry's tokens back, or one."""
        self.tokens = min(inputs.RETRY_TOKENS, self.tokens + (self.permit or 1))
        self.permit = 0


class Request:
    __slots__ = ("key", "forged", "arrived", "round", "instance", "attempts")

    def __init__(self, key, forged, arrived, round):
        self.key, self.forged, self.arrived, self.round, self.attempts = key, forged, arrived, round, 0


class Simulation:
    def __init__(self, settings):
        self.settings = s = settings.scaled()
        assert len(s.popularity.shares) <= inputs.USAGE_KEYS, "an instance remembers no more keys: not modelled"
        assert s.scale == 1 or not s.cache_s, "what a cache holds depends on the rate of each key"
        self.rng = random.Random(s.seed)
        full = not s.steady
        self.gateway = TokenBucket(s.gateway_rate, s.gateway_burst, full)
        self.invocations = TokenBucket(s.invocations * s.concurrency, s.invocations * s.concurrency, full)
        self.scaling = TokenBucket(s.scaling / inputs.SCALING_S, s.scaling)
        self.table = Table(len(s.popularity.shares), s.max_read_units, s.max_write_units, s.partition_reads, s.partition_writes, full)
        self.mu = math.log(s.table_s) - inputs.TABLE_SIGMA**2 / 2 if s.table_s else None
        self.now, self.in_flight, self.events, self.order = 0.0, 0, [], itertools.count()
        # Little's law, for all of the run: both are the same in the end.
        self.in_flight_seconds = self.time_in_function = 0.0
        self.cache, self.idle, self.instances, self.rounds = {}, collections.deque(), [], []
        if s.steady:
            self.settle(settings.rate)

    def settle(self, rate):
        """As after an hour of this load."""
        s, service = self.settings, self.settings.own_s + self.settings.table_s
        busy = s.rate * service
        warm = math.ceil(busy + 6 * math.sqrt(busy)) + 3
        self.idle.extend(self.instance(warm=True) for _ in range(int(min(warm, s.concurrency))))
        # An instance records a key again after an hour and half the jitter. It checks at most one key after the other.
        wait = inputs.USAGE_HOUR_S + inputs.USAGE_JITTER_S / 2
        self.due = [1 / (1 + share * min(rate, 1 / service) * wait) for share in s.popularity.shares]
        if s.cache_s:
            for key, share in enumerate(s.popularity.shares):
                if self.rng.random() < 1 - 1 / (1 + s.rate * share * s.cache_s):
                    self.cache[key] = self.rng.random() * s.cache_s

    def instance(self, warm):
        self.instances.append(Instance(warm))
        return self.instances[-1]

    def later(self, delay, step, request):
        assert delay >= 0
        heapq.heappush(self.events, (self.now + delay, next(self.order), step, request))

    def table_time(self):
        return self.rng.lognormvariate(self.mu, inputs.TABLE_SIGMA) if self.mu is not None else 0.0

    def run(self):
        """The rounds, each with the splits of the one before."""
        s = self.settings
        self.warming = Round(s.warm_up)
        self.through(self.warming)
        for number in range(s.rounds):
            if number and s.splits:
                self.table.split_hot(self.now)
            self.rounds.append(Round(s.seconds, partitions=len(self.table.partitions)))
            self.through(self.rounds[-1])
        while self.events:
            self.step()
        return self.rounds

    def through(self, round):
        """The arrivals of a round, and all that happens meanwhile."""
        self.round, began = round, self.now
        self.ends = began + round.seconds
        for after in poisson(self.rng, self.settings.rate, round.seconds):
            self.until(began + after)
            self.arrive()
        self.until(self.ends)

    def until(self, time):
        while self.events and self.events[0][0] <= time:
            self.step()
        self.pass_time(time)

    def step(self):
        at, _, step, request = heapq.heappop(self.events)
        self.pass_time(at)
        step(request)

    def pass_time(self, to):
        self.round.in_flight_seconds += self.in_flight * max(0.0, min(to, self.ends) - self.now)
        self.in_flight_seconds += self.in_flight * (to - self.now)
        self.now = to

    def arrive(self):
        s, round = self.settings, self.round
        round.arrivals += 1
        key = s.popularity.draw(self.rng)
        request = Request(key, s.forged and self.rng.random() < s.forged, self.now, round)
        if not self.gateway.take(self.now):
            return self.respond(request, 429, s.gateway)
        # Each forged key is another one, so the cache knows none of them.
        if s.cache_s and not request.forged and self.cache.get(key, 0.0) > self.now:
            round.cached += 1
            return self.respond(request, 200)
        if not self.invocations.take(self.now):
            return self.respond(request, 500, INVOCATIONS)
        while self.idle and self.now - self.idle[0].idle_since > s.idle_s:
            self.idle.popleft()
        delay = s.own_s
        if self.in_flight >= s.concurrency:
            return self.respond(request, 500, CONCURRENCY)
        if self.idle:
            request.instance = self.idle.pop()
        elif self.scaling.take(self.now):
            request.instance = self.instance(warm=False)
            round.starts += 1
            delay += s.cold_s
        else:
            return self.respond(request, 500, SCALING)
        round.calls += 1
        self.in_flight += 1
        round.peak = max(round.peak, self.in_flight)
        self.later(delay, self.deny if request.forged else self.read, request)

    def read(self, request):
        request.attempts += 1
        request.round.attempts += 1
        request.round.most_attempts = max(request.round.most_attempts, request.attempts)
        rejected = self.table.read(request.key, self.now)
        delay = self.table_time()
        if rejected is None:
            request.round.reads += 1
            return self.later(delay, self.found, request)
        request.round.rejected += 1
        if request.attempts < inputs.MAX_ATTEMPTS and request.instance.may_retry():
            backoff = self.rng.random() * inputs.INITIAL_BACKOFF_S * 2 ** (request.attempts - 1)
            return self.later(delay + min(backoff, inputs.MAX_BACKOFF_S), self.read, request)
        self.later(delay, self.fail_reads if rejected == READS else self.fail_partition, request)

    def found(self, request):
        s, instance, key = self.settings, request.instance, request.key
        instance.succeeded()
        is_new = self.rng.random() < self.due[key] if instance.warm else key not in instance.recorded
        if not s.track_usage or not is_new or self.now < instance.paused_until:
            return self.allow(request)
        instance.recorded.add(key)
        if self.table.write(self.now) is None:
            request.round.writes += 1
        else:
            request.round.unrecorded += 1
            instance.paused_until = self.now + inputs.USAGE_PAUSE_S
        self.later(self.table_time(), self.allow, request)

    def allow(self, request):
        if self.settings.cache_s:
            self.cache[request.key] = self.now + self.settings.cache_s
        self.finish(request, 200)

    def deny(self, request):
        self.finish(request, 403)

    def fail_reads(self, request):
        self.finish(request, 503 if self.settings.verify else 500, READS)

    def fail_partition(self, request):
        self.finish(request, 503 if self.settings.verify else 500, PARTITION)

    def finish(self, request, status, limit=None):
        self.in_flight -= 1
        self.time_in_function += self.now - request.arrived
        request.instance.idle_since = self.now
        self.idle.append(request.instance)
        self.respond(request, status, limit)

    def respond(self, request, status, limit=None):
        round = request.round
        round.responses[status] += 1
        if limit:
            round.limits[limit] += 1
        else:
            round.latencies.append(self.now - request.arrived)
