"""Simple responses with a cache: right with the identity sources that docs/protect-an-api.md names, and wrong with fewer."""

import json
import re
import time
import unittest

import deployment
import emulator as emulators
from deployment import ROOT, Stack, templates
from protected import APIS, HTTP, IDENTITY_SOURCES, Case, example, in_seconds

# What docs/protect-an-api.md names beside the header.
RULE = (ROOT / "docs/protect-an-api.md").read_text().split("\n## Use simple responses\n")[1].split("\n## ")[0]
DOCUMENTED = f"[{', '.join(re.findall(r'`[$]context[.]([A-Za-z.]+)`', RULE))}]"


def simple(context):
    """The example with simple responses, and these identity sources beside the header."""
    sources = f"{IDENTITY_SOURCES}\n              Context: {context}"
    return example(("EnableSimpleResponses: false", "EnableSimpleResponses: true"), (IDENTITY_SOURCES, sources))


class Simple(Case):
    @classmethod
    def setUpClass(cls):
        emulator = emulators.shared()
        cls.keys = Stack("simple", templates.MAIN, emulator, SimpleResponses="true")
        cls.protected = Stack("simple-api", simple(DOCUMENTED), emulator, KeysStack="simple", AuthorizerCacheSeconds=300)
        cls.other = Stack("simple-other", simple("[]"), emulator, KeysStack="simple", AuthorizerCacheSeconds=300)

    def test_documented_identity_sources(self):
        self.in_turn([("GET", "", 200), ("POST", "", 403), ("GET", "/1", 200)], permissions="read")
        requests = [("GET", "", 200), ("GET", "/1", 403), ("POST", "", 200), ("POST", "/1", 403), ("GET", "/a..b", 403)]
        self.in_turn(requests, routes=["GET /items", "POST /items"])

    def test_addresses(self):
        key = self.create(permissions="read", allowed_ips=["192.0.2.0/24"])
        for address, expected in (("198.51.100.7", 403), ("192.0.2.7", 200), ("198.51.100.7", 403), ("192.0.2.8", 200)):
            self.assertEqual(self.status(HTTP, key, address=address), expected)

    def test_reasons_and_what_is_passed_on(self):
        key = self.create(permissions="read", team="a")
        passed_on = self.ask(HTTP, key).expect(200)
        self.assertEqual(json.loads(passed_on.pop("config")), {"permissions": "read", "team": "a"})
        self.assertEqual(passed_on, {"key_id": key[:31], "service": "gaia", "permissions": "read"})
        self.assertEqual(self.status(HTTP, key, "POST"), 403)
        self.denials(1, key_id=key[:31], reason="permission")
        self.assertEqual(self.status(HTTP, None), 401)

    def test_an_expired_key_lives_until_the_time_is_over(self):
        """Unlike with policies, which have its end as a condition."""
        key = self.create(permissions="read", expires_at=in_seconds(3))
        self.assertEqual([self.status(api, key) for api in APIS], [200, 200])
        time.sleep(3)
        self.assertEqual([self.status(api, key) for api in APIS], [200, 403])
        self.assertEqual(self.status(HTTP, key, path="/1"), 403)  # not cached yet
        self.denials(1, key_id=key[:31], reason="expired")

    def test_fewer_identity_sources_open_too_much(self):
        """The hazard that the documents warn of."""
        for context, config, first, opened in (
            ("[path, identity.sourceIp]", {"permissions": "read"}, ("GET", ""), ("POST", "")),
            ("[httpMethod, identity.sourceIp]", {"routes": ["GET /items/1"]}, ("GET", "/1"), ("GET", "/2")),
        ):
            with self.subTest(context):
                self.other.deploy(simple(context))
                for stack, expected in ((self.protected, 403), (self.other, 200)):
                    key = self.create(**config)
                    found = [self.ask(HTTP, key, *request, stack=stack).status for request in (first, opened)]
                    self.assertEqual(found, [200, expected])

    def test_settings_that_differ_never_open(self):
        """The gateway expects a policy and gets a simple response, or the other way round."""
        key = self.create(permissions="write")
        self.other.deploy(example())
        self.assertEqual([self.ask(api, key, stack=self.other).status for api in APIS], [500, 200])
        policies = deployment.keys()
        key = policies.send("POST", "/", {"config": {"permissions": "write"}}).expect(200)["api_key"]
        other = Stack("policies-other", simple(DOCUMENTED), policies.emulator)
        self.assertEqual([self.ask(api, key, stack=other).status for api in APIS], [500, 200])


if __name__ == "__main__":
    unittest.main()
