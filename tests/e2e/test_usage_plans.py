"""examples/protected-api/usage-plans.yaml: who gets a 429, and what the others get."""

import unittest

import emulator as emulators
from deployment import ROOT, Stack, templates

OWN, DEFAULT = "usage-plan-key-of-reports", "usage-plan-key-of-everybody-else"
LIMITS = [("Limit: 1000", "Limit: 3"), ("RateLimit: 50, BurstLimit: 100", "RateLimit: 0.001, BurstLimit: 3")]


class UsagePlans(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = Stack("metered", templates.MAIN, emulators.shared(), DefaultUsagePlanKey=DEFAULT)
        text = (ROOT / "examples/protected-api/usage-plans.yaml").read_text()
        for old, new in LIMITS:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        parameters = {"KeysStack": "metered", "DefaultUsagePlanKey": DEFAULT, "ReportsUsagePlanKey": OWN}
        cls.protected = Stack("metered-api", text, cls.keys.emulator, AuthorizerCacheSeconds=300, **parameters)

    def statuses(self, key, count):
        """What a caller gets, who names another's usage plan key itself: that counts for nothing."""
        headers = {"authorization": f"Search {key}", "x-api-key": OWN}
        url = self.protected.outputs["RestApiUrl"]
        return [self.keys.emulator.send("GET", url, headers=headers).status for _ in range(count)]

    def test_who_is_limited(self):
        key, first, second = self.keys.create(permissions="read", usage_plan_key=OWN), self.keys.create(permissions="read"), self.keys.create(permissions="read")
        self.assertEqual(self.statuses(key, 4), [200, 200, 200, 429])
        rotated = self.keys.send("POST", f"/{key[:31]}/rotate", {"grace_seconds": 3600}).expect(200)["api_key"]
        self.assertEqual(self.statuses(rotated, 1), [429], "one quota for both keys of a rotation")
        self.assertEqual(self.statuses(first, 2) + self.statuses(second, 2), [200, 200, 200, 429], "all others share a rate")
        self.assertEqual(self.statuses(self.keys.create(permissions="read", usage_plan_key="a-value-that-no-plan-has"), 1), [403])

    def test_a_changed_default_counts_after_the_deployment(self):
        self.keys.deploy(DefaultUsagePlanKey="a-value-that-no-plan-has")
        self.addCleanup(self.keys.deploy, DefaultUsagePlanKey=DEFAULT)
        self.assertEqual(self.statuses(self.keys.create(permissions="read"), 1), [403])
