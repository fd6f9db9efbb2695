"""examples/protected-api/usage-plans.yaml: who gets a 429, and what the others get."""

import re
import unittest
import urllib.parse

import deployment
import emulator as emulators
from deployment import Stack, templates
from protected import REST, Case

USAGE_PLANS = (templates.ROOT / "examples/protected-api/usage-plans.yaml").read_text()
OWN, DEFAULT = "usage-plan-key-of-reports", "usage-plan-key-of-everybody-else"


def example(*changes):
    """The example with the reasons of denials, changed by pairs of old and new text."""
    text = re.sub(r"^      # (GatewayResponses:|  ACCESS_DENIED:|    ResponseTemplates:|      application/json:)", r"      \1",
                  USAGE_PLANS, flags=re.MULTILINE)
    assert text.count("# ") == USAGE_PLANS.count("# ") - 4
    for old, new in changes:
        assert text.count(old) == 1, f"{text.count(old)} times in the example: {old}"
        text = text.replace(old, new)
    return text


class UsagePlans(Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = Stack("metered", templates.MAIN, emulators.shared(), DefaultUsagePlanKey=DEFAULT)

    def deploy(self, *changes, **parameters):
        parameters = {"KeysStack": "metered", "DefaultUsagePlanKey": DEFAULT, "ReportsUsagePlanKey": OWN} | parameters
        self.protected = Stack("metered-api", example(*changes), self.keys.emulator, **parameters)
        self.addCleanup(self.protected.delete)

    def statuses(self, key, count):
        return [self.status(REST, key) for _ in range(count)]

    def test_a_quota_ends_for_one_caller_and_its_rotated_key(self):
        for seconds in (0, 300):
            with self.subTest(cache=seconds):
                self.deploy(("Limit: 1000", "Limit: 3"), AuthorizerCacheSeconds=seconds)
                key, other = self.create(permissions="read", usage_plan_key=OWN), self.create(permissions="read")
                self.assertEqual(self.statuses(key, 4), [200, 200, 200, 429])
                rotated = self.keys.send("POST", f"/{key[:31]}/rotate", {"grace_seconds": 3600}).expect(200)["api_key"]
                self.assertEqual(self.statuses(rotated, 1), [429])
                self.assertEqual(self.statuses(other, 5), [200] * 5)
                self.protected.delete()

    def test_all_others_share_a_rate(self):
        self.deploy(("RateLimit: 50, BurstLimit: 100", "RateLimit: 0.001, BurstLimit: 3"))
        first, second, own = [self.create(permissions="read", usage_plan_key=value) for value in (None, None, OWN)]
        self.assertEqual(self.statuses(first, 2) + self.statuses(second, 2), [200, 200, 200, 429])
        self.assertEqual(self.statuses(own, 5), [200] * 5)

    def test_a_key_on_no_plan_and_a_denied_one(self):
        self.deploy()
        elsewhere = self.create(permissions="read", usage_plan_key="a-value-that-no-plan-has")
        self.assertEqual(self.ask(REST, elsewhere).expect(403), {"message": "Forbidden"})
        for reason, config in (("disabled", {"enabled": False}), ("source_ip", {"allowed_ips": ["192.0.2.1"]})):
            denied = self.create(permissions="read", usage_plan_key=OWN, **config)
            self.assertEqual(self.ask(REST, denied).expect(403)["reason"], reason)

    def test_a_changed_default_counts_after_the_deployment(self):
        self.deploy()
        self.addCleanup(self.keys.deploy, DefaultUsagePlanKey=DEFAULT)
        key = self.create(permissions="read")
        self.assertEqual(self.statuses(key, 1), [200])
        for value, status in (("a-value-that-no-plan-has", 403), (OWN, 200)):
            with self.subTest(value):
                self.keys.deploy(DefaultUsagePlanKey=value)
                self.assertEqual(self.statuses(key, 1), [status])

    def test_what_a_caller_names_itself_counts_for_nothing(self):
        self.deploy(("RateLimit: 50, BurstLimit: 100", "RateLimit: 0, BurstLimit: 0"))
        url = self.protected.outputs[REST]
        headers = {"authorization": f"Search {self.create(permissions='read')}", "x-api-key": OWN}
        path = urllib.parse.urlsplit(url).path
        response = deployment.send(self.protected.emulator, url, "GET", path, caller=None, headers=headers)
        self.assertEqual(response.status, 429, "the default plan, which allows nothing here")


if __name__ == "__main__":
    unittest.main()
