"""When requests arrive, and with which key."""

import bisect
import itertools
import math


def poisson(rng, rate, until):
    now = rng.expovariate(rate)
    while now < until:
        yield now
        now += rng.expovariate(rate)


class Popularity:
    """Draws keys by their shares of the requests. Keys are numbers in the order of the table's sort key."""

    def __init__(self, shares):
        total = math.fsum(shares)  # unlike sum(), the same in every version of Python
        self.shares = [share / total for share in shares]
        self.up_to = list(itertools.accumulate(self.shares))

    def draw(self, rng):
        return min(bisect.bisect(self.up_to, rng.random()), len(self.shares) - 1)


def uniform(keys):
    return Popularity([1] * keys)


def zipf(rng, keys):
    """The n-th most used key has 1/n of the first one's requests. Popular keys lie anywhere in the table."""
    shares = [1 / rank for rank in range(1, keys + 1)]
    rng.shuffle(shares)
    return Popularity(shares)


def one_hot(keys, share):
    """One key in the middle with that share of the requests; the others share the rest evenly."""
    shares = [(1 - share) / (keys - 1)] * keys
    shares[keys // 2] = share
    return Popularity(shares)
