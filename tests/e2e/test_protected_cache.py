"""The gateway's cache: how long a revoked key lives, and that what is cached is right for the next request."""

import time
import unittest

import deployment
from deployment import Stack
from protected import APIS, IDENTITY_SOURCES, REST_IDENTITY_SOURCES, Case, example, in_seconds

SECONDS = 8  # of the short cache


def wait_until(moment):
    time.sleep(max(0, moment - time.monotonic()))


class Policies(Case):
    """Cached by the one header, as the example has it."""

    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.protected = Stack("cached", example(), cls.keys.emulator, AuthorizerCacheSeconds=SECONDS)

    def test_a_revoked_key_lives_until_the_time_is_over(self):
        """docs/protect-an-api.md, "Choose a cache time". A denial is cached for the same time."""
        deleted, disabled, narrowed = (self.create(permissions="write") for _ in range(3))
        enabled = self.create(permissions="write", enabled=False)
        expiring = self.create(permissions="write", expires_at=in_seconds(5))
        keys = (deleted, disabled, narrowed, enabled, expiring)
        for api in APIS:
            self.assertEqual([self.status(api, key, "POST") for key in keys], [200, 200, 200, 403, 200], api)
        cached = time.monotonic()
        self.delete(deleted)
        self.update(disabled, permissions="write", enabled=False)
        self.update(narrowed, permissions="read")
        self.update(enabled, permissions="write")
        seen = [[self.status(api, key, "POST") for key in keys[:4]] for api in APIS]
        self.assertLess(time.monotonic() - cached, SECONDS - 3, "too slow to see anything")
        self.assertEqual(seen, [[200, 200, 200, 403]] * 2)
        wait_until(cached + 5)  # past `expires_at`, within the cache's time
        self.assertEqual([self.status(api, expiring, "POST") for api in APIS], [403, 403])
        self.assertLess(time.monotonic() - cached, SECONDS, "too slow to see anything")
        self.denials(0, key_id=expiring[:31])  # but by the policy's condition
        wait_until(cached + SECONDS + 0.2)
        for api in APIS:
            self.assertEqual([self.status(api, key, "POST") for key in keys], [403, 403, 403, 200, 403], api)
        self.denials(2, key_id=expiring[:31], reason="expired")


class NextRequest(Case):
    """What was cached for one request, asked by another. The cache outlives the tests."""

    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.protected = Stack("cached-long", example(), cls.keys.emulator, AuthorizerCacheSeconds=300)

    def test_permissions(self):
        self.in_turn([("GET", "", 200), ("POST", "", 403), ("GET", "/1", 200)], permissions="read")
        self.in_turn([("GET", "", 200), ("POST", "", 200)], permissions="write")

    def test_routes(self):
        requests = [("GET", "/1", 200), ("GET", "/12", 403), ("POST", "/1", 403), ("GET", "", 403), ("POST", "", 200)]
        self.in_turn(requests, routes=["GET /items/1", "POST /items"])
        self.in_turn([("GET", "/a", 200), ("GET", "/a..b", 403)], routes=["GET /items/*"])

    def test_addresses(self):
        """A cached policy denies other addresses by its condition; a cached denial denies all (rule 3)."""
        inside, outside = "192.0.2.7", "198.51.100.7"
        for api in APIS:
            for addresses, expected in (((inside, outside, inside), [200, 403, 200]), ((outside, inside), [403, 403])):
                with self.subTest(f"{api} {addresses}"):
                    key = self.create(permissions="read", allowed_ips=["192.0.2.0/24"])
                    self.assertEqual([self.status(api, key, address=address) for address in addresses], expected)
                    self.denials(int(addresses[0] == outside), key_id=key[:31])

    def test_without_a_key(self):
        self.assertEqual([self.status(api, None) for api in APIS], [401, 401])


class AddressAsIdentitySource(Case):
    """Rule 3 of docs/protect-an-api.md: with the address as an identity source, the denial of one address isn't used for another."""

    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        http = f"{IDENTITY_SOURCES}\n              Context: [identity.sourceIp]"
        rest = f"{REST_IDENTITY_SOURCES}              Context: [identity.sourceIp]\n"
        text = example((IDENTITY_SOURCES, http), (REST_IDENTITY_SOURCES, rest))
        cls.protected = Stack("cached-address", text, cls.keys.emulator, AuthorizerCacheSeconds=300)

    def test_addresses(self):
        for api in APIS:
            key = self.create(permissions="read", allowed_ips=["192.0.2.0/24"])
            addresses = ("198.51.100.7", "192.0.2.7", "198.51.100.7")
            self.assertEqual([self.status(api, key, address=address) for address in addresses], [403, 200, 403], api)


if __name__ == "__main__":
    unittest.main()
