"""What holds for every simulation, whatever its settings. Each is a function that names it; `broken` gives those that don't hold."""

import math


def every_arrival_gets_one_response(simulation, rounds):
    return all(sum(round.responses.values()) == round.arrivals for round in rounds)


def nothing_is_left_over(simulation, rounds):
    return simulation.in_flight == 0 and not simulation.events


def a_status_is_one_that_callers_can_see(simulation, rounds):
    own = 503 if simulation.settings.verify else 500
    return all(set(round.responses) <= {200, 403, 429, 500, own} for round in rounds)


def each_rejection_names_its_limit(simulation, rounds):
    return all(sum(r.limits.values()) == r.arrivals - r.responses[200] - r.responses[403] for r in rounds)


def an_allowed_check_read_its_item_or_was_cached(simulation, rounds):
    return all(round.responses[200] == round.reads + round.cached for round in rounds)


def a_forged_key_reads_nothing(simulation, rounds):
    forged = sum(round.responses[403] for round in rounds)
    return forged == sum(r.calls - r.reads - r.limits["MaxReadUnits"] - r.limits["partition"] for r in rounds)


def every_attempt_is_given_or_rejected(simulation, rounds):
    return all(round.attempts == round.reads + round.rejected for round in rounds)


def at_most_three_attempts(simulation, rounds):
    return all(round.most_attempts <= 3 for round in rounds)


def the_retry_quota_stays_between_none_and_500(simulation, rounds):
    return all(0 <= instance.tokens <= 500 for instance in simulation.instances)


def an_instance_serves_one_request_at_a_time(simulation, rounds):
    return len(set(map(id, simulation.idle))) == len(simulation.idle) <= len(simulation.instances)


def requests_at_the_same_time_stay_within_the_quota(simulation, rounds):
    return all(round.peak <= math.ceil(simulation.settings.concurrency) for round in rounds)


def no_limit_gives_more_than_its_rate(simulation, rounds):
    table = simulation.table
    buckets = [simulation.gateway, simulation.invocations, simulation.scaling, table.reads, table.writes, table.usage]
    buckets += [partition.bucket for partition in table.partitions]
    return all(bucket.taken <= bucket.burst + bucket.rate * simulation.now + 1e-6 for bucket in buckets)


def the_partitions_hold_each_key_once(simulation, rounds):
    partitions = simulation.table.partitions
    ends = [0] + [partition.end for partition in partitions]
    keys = len(simulation.settings.popularity.shares)
    return ends[:-1] == [partition.first for partition in partitions] == simulation.table.firsts and ends[-1] == keys


def littles_law(simulation, rounds):
    """Requests at the same time, added up over time, are the times of all requests, added up."""
    return math.isclose(simulation.in_flight_seconds, simulation.time_in_function, rel_tol=1e-6, abs_tol=1e-6)


def a_quantile_is_a_time(simulation, rounds):
    return all(min(round.latencies, default=0.0) >= 0.0 for round in rounds)


ALL = [value for name, value in list(globals().items()) if callable(value)]


def broken(simulation):
    rounds = [simulation.warming, *simulation.rounds]
    return [invariant.__name__ for invariant in ALL if not invariant(simulation, rounds)]
