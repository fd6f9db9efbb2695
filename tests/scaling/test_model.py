"""The simulation against closed forms, each limit by itself, and what must hold for every run."""

import math
import random
import statistics
import unittest
from dataclasses import replace

from scaling import ROOT  # noqa: F401, it finds the modules below

import inputs
import invariants
from arrivals import one_hot, poisson, uniform, zipf
from limits import TokenBucket
from model import UNLIMITED, Settings, Simulation

FREE = {name: UNLIMITED for name in ("gateway_rate", "gateway_burst", "concurrency", "scaling", "max_read_units", "max_write_units",
                                     "partition_reads", "partition_writes")}
SERVICE_S = Settings.own_s + Settings.table_s


def free(rate, popularity=None, **more):
    """Settings without limits, but for those that are named."""
    return replace(Settings(rate, popularity or uniform(100), **FREE), **more)


class Scaling(unittest.TestCase):
    def simulate(self, settings):
        simulation = Simulation(settings)
        simulation.run()
        self.assertEqual(invariants.broken(simulation), [])
        return simulation

    def rounds(self, settings):
        return self.simulate(settings).rounds

    def one(self, settings):
        round, = self.rounds(settings)
        return round

    def near(self, found, expected, relative):
        self.assertAlmostEqual(found, expected, delta=relative * abs(expected), msg=f"not within {relative:.0%}")


class ClosedForms(Scaling):
    def test_arrivals_are_poisson(self):
        counts = [0] * 2_000
        for at in poisson(random.Random(2), 50.0, 2_000.0):
            counts[int(at)] += 1
        self.near(statistics.mean(counts), 50, 0.01)
        self.near(statistics.variance(counts), 50, 0.1)

    def test_popularity(self):
        rng = random.Random(3)
        for popularity, share in ((uniform(20), 1 / 20), (zipf(rng, 20), 1 / sum(1 / n for n in range(1, 21))), (one_hot(20, 0.3), 0.3)):
            top = max(range(20), key=popularity.shares.__getitem__)
            self.near(sum(popularity.draw(rng) == top for _ in range(40_000)) / 40_000, share, 0.05)

    def test_dynamodb_takes_its_mean(self):
        simulation = Simulation(free(1))
        self.near(statistics.mean(simulation.table_time() for _ in range(50_000)), inputs.TIMES["table"].seconds, 0.01)

    def test_requests_at_the_same_time_are_rate_times_duration(self):
        round = self.one(free(2_000, track_usage=False, seconds=20.0))
        self.near(round.in_flight_seconds / round.seconds, 2_000 * SERVICE_S, 0.02)

    def test_loss_is_erlangs(self):
        """A quota of c and no queue lose what Erlang's formula says, whatever the times are distributed like."""
        for c, offered in ((5, 3.0), (10, 8.0), (20, 25.0)):
            blocked = 1.0
            for n in range(1, c + 1):
                blocked = offered * blocked / (n + offered * blocked)
            round = self.one(free(offered / SERVICE_S, concurrency=c, invocations=UNLIMITED, cold_s=0.0, track_usage=False, seconds=40.0))
            self.near(round.share(500), blocked, 0.06)
            self.assertEqual(set(round.limits), {"Lambda concurrency"})

    def test_cold_starts_are_gaps_longer_than_idle_instances_live(self):
        idle = 100.0
        for rate in (0.005, 0.02):
            round = self.one(free(rate, idle_s=idle, steady=False, warm_up=0.0, seconds=10_000 / rate))
            self.near(round.starts / round.arrivals, math.exp(-rate * idle), 0.05)

    def test_a_cache_asks_once_a_key_and_time(self):
        """After each call a key is cached for `cache_s`, and then until its next request it isn't."""
        for keys, cache_s in ((10, 5.0), (100, 2.0)):
            round = self.one(free(100, uniform(keys), cache_s=cache_s, track_usage=False, seconds=100.0, own_s=1e-6, table_s=1e-5))
            self.near(round.calls / round.seconds, keys / (cache_s + keys / 100), 0.03)

    def test_splits_double_what_even_keys_get(self):
        rounds = self.rounds(free(1_000, partition_reads=150, rounds=5, seconds=4.0, track_usage=False))
        for number, round in enumerate(rounds):
            self.near(1 - round.share(500), min(1.0, 150 * 2**number / 1_000), 0.04)
        self.assertEqual([round.partitions for round in rounds[:4]], [1, 2, 4, 8])

    def test_no_split_helps_a_key_above_a_partition(self):
        popularity, limit, rate = zipf(random.Random(4), 100), 100, 1_000
        lost = sum(max(0.0, share * rate - limit) for share in popularity.shares) / rate
        rounds = self.rounds(free(rate, popularity, partition_reads=limit, rounds=8, seconds=4.0, track_usage=False))
        self.near(rounds[-1].share(500), lost, 0.06)
        self.assertGreater(lost, 0.05)

    def test_a_jump_is_rejected_until_the_first_instances_are_ready(self):
        s = free(50_000, scaling=1_000, steady=False, warm_up=0.0, seconds=0.2, track_usage=False)
        at = 1_000 / s.rate
        rejected = (s.cold_s + SERVICE_S - at) * s.rate
        self.near(self.one(s).responses[500], rejected, 0.05)

    def test_instances_stop_retrying(self):
        """As docs/reliability.md has it: 50 requests that fail for good take all tokens, two retries each."""
        simulation = self.simulate(free(500, max_read_units=0, steady=False, warm_up=0.0, seconds=30.0, rounds=2))
        first, second = simulation.rounds
        retries = [(inputs.RETRY_TOKENS - instance.tokens) / inputs.RETRY_COST for instance in simulation.instances]
        self.assertEqual(first.attempts + second.attempts - first.calls - second.calls, sum(retries))
        self.assertEqual(max(retries), 2 * 50)
        self.near(second.attempts, second.calls, 0.05)

    def test_usage_is_written_once_a_key_and_instance(self):
        simulation = self.simulate(free(200, uniform(10), steady=False, warm_up=0.0, seconds=60.0))
        self.assertEqual(simulation.rounds[0].writes, sum(len(instance.recorded) for instance in simulation.instances))
        self.assertLessEqual(simulation.rounds[0].writes, 10 * len(simulation.instances))

    def test_usage_settles_at_one_write_an_hour(self):
        """An instance that never pauses writes each key every 67.5 minutes."""
        round = self.one(free(150, uniform(1_000), seconds=600.0))
        self.near(round.writes, 1_000 * 600 / (3_600 + 450), 0.25)


class EachLimitByItself(Scaling):
    def meets(self, settings, limit, status, per_second):
        round = self.one(settings)
        self.assertEqual(set(round.limits), {limit})
        self.assertEqual(set(round.responses), {200, status})
        self.near(round.responses[200] / round.seconds, per_second, 0.02)

    def test_gateway(self):
        self.meets(free(1_000, gateway_rate=300, gateway_burst=300), "gateway quota", 429, 300)

    def test_the_verify_routes_throttle(self):
        self.meets(free(1_000, verify=True, gateway="ThrottleRate", gateway_rate=300, gateway_burst=300), "ThrottleRate", 429, 300)

    def test_lambdas_requests_a_second(self):
        self.meets(free(1_000, concurrency=30), "Lambda rate", 500, 300)

    def test_lambdas_concurrency(self):
        settings = free(3_000, concurrency=5, invocations=UNLIMITED, track_usage=False, own_s=0.01, table_s=0.0)
        self.meets(settings, "Lambda concurrency", 500, 3_000 * 5 / (5 + 30 * 0.86))

    def test_lambdas_scaling(self):
        round = self.one(free(1_000, scaling=20, steady=False, warm_up=0.0, seconds=0.1))
        self.assertEqual(set(round.limits), {"Lambda scaling"})
        self.assertEqual(round.starts, 20)

    def test_max_read_units(self):
        self.meets(free(1_000, max_read_units=300), "MaxReadUnits", 500, 300)

    def test_a_partition(self):
        self.meets(free(1_000, partition_reads=300), "partition", 500, 300)

    def test_one_hot_key_is_never_more_than_a_partition(self):
        settings = free(1_000, one_hot(100, 0.5), partition_reads=300, rounds=8, seconds=5.0)
        last = self.rounds(settings)[-1]
        self.assertEqual(set(last.limits), {"partition"})
        self.near(last.share(500), (500 - 300) / 1_000, 0.1)

    def test_the_verify_endpoint_responds_with_503(self):
        self.meets(free(1_000, max_read_units=300, verify=True), "MaxReadUnits", 503, 300)

    def test_usage_writes_fail_open(self):
        for limit in ("max_write_units", "partition_writes"):
            round = self.one(free(1_000, uniform(5_000), steady=False, warm_up=0.0, **{limit: 10}))
            self.assertEqual(set(round.responses), {200})
            self.assertGreater(round.unrecorded, 0)
            self.assertLessEqual(round.writes, 10 + 10 * round.seconds)

    def test_a_limit_saves_no_more_than_its_burst(self):
        bucket = TokenBucket(10, 30)
        self.assertEqual([sum(bucket.take(now) for _ in range(100)) for now in (0.0, 1.0, 1_000.0)], [30, 10, 30])

    def test_none(self):
        self.assertEqual(set(self.one(free(1_000)).responses), {200})

    def test_forged_keys_are_denied(self):
        round = self.one(free(1_000, forged=0.5, max_read_units=600))
        self.assertEqual(set(round.responses), {200, 403})
        self.near(round.share(403), 0.5, 0.05)


class Runs(Scaling):
    def overloaded(self, **more):
        return replace(Settings(10_000, uniform(100), max_read_units=4_000, partition_reads=UNLIMITED, track_usage=False), **more)

    def test_the_same_seed_is_the_same_run(self):
        first, second, other = (self.one(self.overloaded(seconds=0.5, seed=seed)) for seed in (5, 5, 6))
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_a_tenth_of_everything_says_the_same(self):
        for settings, shares, at_once in ((self.overloaded(warm_up=8.0, seconds=4.0), 0.02, 0.34),
                                          (free(10_000, track_usage=False, seconds=4.0), 0.0, 0.05)):
            whole, tenth = (self.one(replace(settings, scale=scale)) for scale in (1, 10))
            self.assertAlmostEqual(whole.share(200), tenth.share(200), delta=shares)
            self.near(tenth.in_flight_seconds * 10, whole.in_flight_seconds, at_once)
            self.near(tenth.quantile(0.5), whole.quantile(0.5), 0.05)

    def test_a_higher_limit_serves_more(self):
        shares = [self.one(self.overloaded(seconds=1.0, max_read_units=units)).share(200) for units in (1_000, 3_000, 9_000)]
        self.assertEqual(shares, sorted(shares))


if __name__ == "__main__":
    unittest.main()
