"""A token bucket: what all of AWS's rate limits are, or are close to."""


class TokenBucket:
    """`rate` per second and at most `burst` at once. `full` at first, or empty as under a load that has lasted."""

    def __init__(self, rate, burst, full=True):
        self.rate, self.burst = rate, burst
        self.tokens, self.at, self.taken = (burst if full else 0.0), 0.0, 0.0

    def has(self, now, amount=1.0):
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        return self.tokens >= amount

    def take(self, now, amount=1.0):
        if not self.has(now, amount):
            return False
        self.tokens -= amount
        self.taken += amount
        return True
