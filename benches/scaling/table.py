"""The table: a ceiling for all of it, and partitions of an item collection that split where they are hot.

Left out: burst capacity (up to 300 s of unused units, which AWS gives no promise for), and the ceiling of twice the
previous peak, which one item collection meets only after its own partition's limit.
"""

import bisect

from limits import TokenBucket


class Partition:
    """The keys from `first` up to, but without, `end`."""

    def __init__(self, first, end, rate, full):
        self.first, self.end, self.full = first, end, full
        self.bucket = TokenBucket(rate, rate, full)
        self.asked = {}
        self.throttled = 0

    def halves(self, now):
        """Two partitions with half of what was asked for each, as near as keys allow; one key alone stays whole."""
        total, so_far, best = sum(self.asked.values()), 0, (float("inf"), None)
        for key in sorted(self.asked):
            if key > self.first:
                best = min(best, (abs(total - 2 * so_far), key))
            so_far += self.asked[key]
            if key + 1 < self.end:
                best = min(best, (abs(total - 2 * so_far), key + 1))
        middle = best[1]
        if middle is None:
            return [self]
        parts = [Partition(first, end, self.bucket.rate, False) for first, end in ((self.first, middle), (middle, self.end))]
        for part in parts:
            part.bucket.at = now
        return parts


class Table:
    """Reads of keys' items take one unit each. Writes of usage are a collection of their own, in one partition."""

    def __init__(self, keys, max_read_units, max_write_units, partition_reads, partition_writes, full=True):
        self.reads = TokenBucket(max_read_units, max_read_units, full)
        self.writes = TokenBucket(max_write_units, max_write_units, full)
        self.usage = TokenBucket(partition_writes, partition_writes, full)
        self.partitions = [Partition(0, keys, partition_reads, full)]
        self.firsts = [0]

    def read(self, key, now):
        """None if the unit was given, else the limit that rejected it."""
        partition = self.partitions[bisect.bisect(self.firsts, key) - 1]
        partition.asked[key] = partition.asked.get(key, 0) + 1
        if not self.reads.has(now):
            return "MaxReadUnits"
        if not partition.bucket.take(now):
            partition.throttled += 1
            return "partition"
        self.reads.take(now)
        return None

    def write(self, now):
        if not self.writes.has(now):
            return "MaxWriteUnits"
        if not self.usage.take(now):
            return "partition"
        self.writes.take(now)
        return None

    def split_hot(self, now, share=0.01):
        """Splits each partition that rejected more than `share` of its reads since the last call, once."""
        after = []
        for partition in self.partitions:
            asked = sum(partition.asked.values())
            hot = partition.throttled > share * asked
            after += partition.halves(now) if hot else [partition]
        for partition in after:
            partition.asked, partition.throttled = {}, 0
        self.partitions, self.firsts = after, [partition.first for partition in after]
