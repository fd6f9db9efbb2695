"""The protected APIs of the examples, in SAM and CDK: what opens them, denials, other settings.

tests/integration has every config, format, failure and cached response; tests/aws asks about the cache.
"""

import json
import pathlib
import shutil
import tempfile
import unittest

import deployment
from deployment import ROOT, Stack, edited, templates
from test_cdk import API, APP, synth

APIS = ("HttpApiUrl", "RestApiUrl")
OWN, DEFAULT = "usage-plan-key-of-reports", "usage-plan-key-of-everybody-else"


class Case(unittest.TestCase):
    header = "authorization"

    @classmethod
    def setUpClass(cls):
        cls.keys, cls.protected = deployment.keys(), cls.stack()

    def statuses(self, key, method="GET"):
        """The responses of both APIs."""
        return [self.protected.call(api, method, "", key, self.header).status for api in APIS]

    def denials(self, key):
        """The reasons in the authorizer's log."""
        return [entry["reason"] for entry in self.keys.log("AuthorizerLogGroup", message="denied", key_id=key[:31])]


class Example(Case):
    stack = staticmethod(deployment.protected)

    def test_what_keys_open(self):
        """A denial is a log entry with the reason. No log has a secret."""
        deleted = self.keys.create(permissions="write")
        self.keys.send("DELETE", f"/delete/{deleted}").expect(200)
        table = [
            (self.keys.create(permissions="read"), 200, 403, ["permission"] * 2),
            (self.keys.create(permissions="write"), 200, 200, []),
            (self.keys.create(routes=["POST /items"]), 403, 200, ["route"] * 2),
            (self.keys.create(team="a"), 403, 403, ["permission"] * 4),
            (self.keys.create(permissions="write", enabled=False), 403, 403, ["disabled"] * 4),
            (self.keys.create(permissions="write", expires_at="2026-01-01T00:00:00Z"), 403, 403, ["expired"] * 4),
            (self.keys.create(permissions="write", allowed_ips=["127.0.0.0/8"]), 200, 200, []),
            (self.keys.create(permissions="write", allowed_ips=["192.0.2.0/24"]), 403, 403, ["source_ip"] * 4),
            (deleted, 403, 403, ["not_found"] * 4),
            (self.keys.create(permissions="write") + "x", 403, 403, []),
        ]
        for key, get, post, reasons in table:
            with self.subTest(key[:31], reasons=reasons):
                self.assertEqual([self.statuses(key), self.statuses(key, "POST")], [[get, get], [post, post]])
                self.assertEqual(self.denials(key), reasons)
        self.assertEqual(self.statuses(None), [401, 403])  # an HTTP API asks no authorizer then
        logs = self.keys.emulator.client("logs")
        groups = logs.get_paginator("describe_log_groups").paginate().search("logGroups[].logGroupName")
        text = json.dumps([logs.filter_log_events(logGroupName=group)["events"] for group in groups])
        for key, *_ in table:
            self.assertNotIn(key[32:58], text)

    def test_what_is_passed_on_and_recorded(self):
        for api in APIS:
            key = self.keys.create(permissions="read")
            expected = {"key_id": key[:31], "service": "gaia", "permissions": "read"}
            self.assertEqual(self.protected.call(api, "GET", key=key).expect(200), expected)
            self.assertIsNotNone(self.keys.send("GET", f"/{key[:31]}").expect(200)["last_used_at"])


class Settings(Case):
    """Every setting of the authorizer is another than the default."""

    header = "x-api-key"

    @classmethod
    def setUpClass(cls):
        settings = {"KeyHeader": cls.header, "ReadRoutes": "POST /items", "ServiceName": "other.1"}
        cls.keys = Stack("settings", templates.MAIN, SimpleResponses="true", **settings)
        text = edited(
            templates.EXAMPLE,
            ("Headers: [Authorization]\n", "Headers: [X-Api-Key]\n"),
            ("Headers: [Authorization] #", "Headers: [X-Api-Key]\n              Context: [httpMethod, path, identity.sourceIp] #"),
            ("EnableSimpleResponses: false", "EnableSimpleResponses: true"),
        )
        cls.protected = Stack("settings-api", text, KeysStack="settings", AuthorizerCacheSeconds=300)

    def test_the_header_and_read_routes(self):
        read, nothing = self.keys.create(permissions="read"), self.keys.create(team="a")
        for key, method, expected in ((read, "GET", 200), (read, "POST", 200), (nothing, "GET", 403), (nothing, "POST", 403)):
            with self.subTest(method, expected=expected):
                self.assertEqual(self.statuses(key, method), [expected] * 2)
        self.header = "authorization"
        self.assertEqual(self.statuses(read), [401, 401])

    def test_simple_responses_are_cached_by_route(self):
        key = self.keys.create(routes=["GET /items"])
        self.assertEqual([self.statuses(key, method) for method in ("GET", "POST", "GET")], [[200] * 2, [403] * 2, [200] * 2])

    def test_use_that_cannot_be_recorded(self):
        """The key opens all the same. With TrackUsage=false nothing is recorded, and the role may write nothing."""
        with self.keys.denied("AuthorizerFunctionRole", "dynamodb:PutItem"):
            self.assertEqual(self.statuses(self.keys.create(permissions="read")), [200, 200])
        failed = len(self.keys.log("AuthorizerLogGroup", message="usage not recorded"))
        self.assertGreater(failed, 0)
        self.keys.deploy(TrackUsage="false")
        self.addCleanup(self.keys.deploy, TrackUsage="true")
        key = self.keys.create(permissions="read")
        self.assertEqual(self.statuses(key), [200, 200])
        self.assertEqual(len(self.keys.log("AuthorizerLogGroup", message="usage not recorded")), failed)
        (dynamodb,) = self.keys.as_role("AuthorizerFunctionRole", "dynamodb")
        with self.assertRaisesRegex(dynamodb.exceptions.ClientError, "AccessDenied"):
            item = {"service": {"S": "other.1#use"}, "id": {"S": key[5:31]}}
            dynamodb.put_item(TableName=self.keys.outputs["TableName"], Item=item)


@unittest.skipUnless(shutil.which("npx") and (APP / "node_modules").exists(), "run npm ci in examples/cdk first")
class Cdk(Case):
    @classmethod
    def stack(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        template = json.loads(synth(folder, artifact=deployment.BINARY.parent)[API])
        # The CDK's own check asks SSM for the version of its bootstrap stack.
        del template["Parameters"]["BootstrapVersion"], template["Rules"]
        return Stack("cdk", json.dumps(template))

    def test_keys_open_what_they_may(self):
        for key, expected in (
            (self.keys.create(permissions="read"), [200, 403]),
            (self.keys.create(routes=["POST /items"]), [403, 200]),
            ("none", [403, 403]),
        ):
            self.assertEqual([self.statuses(key, method) for method in ("GET", "POST")], [[each] * 2 for each in expected])


class UsagePlans(Case):
    """usage-plans.yaml: who gets a 429, and what the others get."""

    @classmethod
    def setUpClass(cls):
        cls.keys = Stack("metered", templates.MAIN, DefaultUsagePlanKey=DEFAULT)
        text = edited(
            (ROOT / "examples/protected-api/usage-plans.yaml").read_text(),
            ("Limit: 1000", "Limit: 3"),
            ("RateLimit: 50, BurstLimit: 100", "RateLimit: 0.001, BurstLimit: 3"),
        )
        parameters = {"KeysStack": "metered", "DefaultUsagePlanKey": DEFAULT, "ReportsUsagePlanKey": OWN}
        cls.protected = Stack("metered-api", text, AuthorizerCacheSeconds=300, **parameters)

    def metered(self, key, count):
        """What a caller gets, who names another's usage plan key itself: that counts for nothing."""
        headers = {"authorization": f"Search {key}", "x-api-key": OWN}
        url = self.protected.outputs["RestApiUrl"]
        return [self.keys.emulator.send("GET", url, headers=headers).status for _ in range(count)]

    def test_who_is_limited(self):
        key = self.keys.create(permissions="read", usage_plan_key=OWN)
        first, second = (self.keys.create(permissions="read") for _ in range(2))
        self.assertEqual(self.metered(key, 4), [200, 200, 200, 429])
        rotated = self.keys.send("POST", f"/{key[:31]}/rotate", {"grace_seconds": 3600}).expect(200)["api_key"]
        self.assertEqual(self.metered(rotated, 1), [429], "one quota for both keys of a rotation")
        self.assertEqual(self.metered(first, 2) + self.metered(second, 2), [200, 200, 200, 429], "all others share a rate")
        unknown = self.keys.create(permissions="read", usage_plan_key="a-value-that-no-plan-has")
        self.assertEqual(self.metered(unknown, 1), [403])

    def test_a_changed_default_counts_after_the_deployment(self):
        self.keys.deploy(DefaultUsagePlanKey="a-value-that-no-plan-has")
        self.addCleanup(self.keys.deploy, DefaultUsagePlanKey=DEFAULT)
        self.assertEqual(self.metered(self.keys.create(permissions="read"), 1), [403])
