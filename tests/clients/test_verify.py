"""The services of examples/clients that check keys themselves: what their callers get, and when verify is asked."""

import http.client
import json
import pathlib
import tempfile
import time
import unittest
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import product

from programs import VERIFY, Service
from local import KEYS, Gateway, Local

FRESH, STALE = 5, 60  # seconds, as in the programs
ITEM = "/items/17"


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A gateway and a service for each language, with one local service behind them all."""
        cls.local = cls.enterClassContext(Local())
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.services = {}
        for name, command in VERIFY.items():
            gateway = cls.enterClassContext(Gateway(cls.local))
            cls.services[name] = cls.enterClassContext(Service(command(), gateway, folder / f"{name}.log"))

    def each(self, test):
        """Runs a test with each service. No request or fault of one test is left for the next."""
        for name, service in self.services.items():
            with self.subTest(name):
                service.gateway.requests.clear()
                service.gateway.faults = []
                test(service)

    def get(self, service, key, method="GET", path=ITEM, headers=None):
        """The status and headers of the response."""
        connection = http.client.HTTPConnection(service.address, timeout=60)
        try:
            connection.request(method, path, headers={"authorization": f"Search {key}"} if headers is None else headers)
            response = connection.getresponse()
            body = response.read().decode()
            self.assertNotIn(str(key)[32:] or "no key", body)
            if response.status == 200:
                self.assertEqual(json.loads(body), {"item": urllib.parse.unquote(path.rpartition("/")[2]), "key_id": key[:31]})
            return response.status, response.headers
        finally:
            connection.close()

    def status(self, service, key, *more, **options):
        return self.get(service, key, *more, **options)[0]

    def asked(self, service):
        """The statuses of verify that reached the gateway."""
        return [status for _, path, status in service.gateway.requests if path == f"{KEYS}/verify"]

    def change(self, key, config):
        self.assertEqual(self.local.send("PUT", f"{KEYS}/{key}", {"config": config})[0], 200)

    def test_what_a_key_may_do(self):
        """401 for what is no living key, 403 for a key that doesn't grant the request; a key without rights grants nothing."""
        past = "2020-01-31T12:00:00Z"
        table = [
            ({"permissions": "read"}, 200, 403),
            ({"permissions": "write"}, 200, 200),
            ({"routes": ["POST /items/*"]}, 403, 200),
            ({"routes": ["GET /other"]}, 403, 403),
            ({}, 403, 403),
            ({"permissions": "read", "allowed_ips": ["127.0.0.1"]}, 200, 403),
            ({"permissions": "read", "allowed_ips": ["192.0.2.1"]}, 403, 403),
            ({"permissions": "read", "enabled": False}, 401, 401),
            ({"permissions": "read", "expires_at": past}, 401, 401),
        ]

        def test(service):
            for config, get, post in table:
                key = self.local.create(config)
                statuses = (self.status(service, key), self.status(service, key, "POST"))
                self.assertEqual(statuses, (get, post), config)
            deleted = self.local.create({"permissions": "read"})
            self.local.send("DELETE", f"{KEYS}/delete/{deleted}")
            self.assertEqual(self.get(service, deleted)[1]["www-authenticate"], "Search")
            self.assertEqual(self.status(service, deleted), 401)

        self.each(test)

    def test_what_is_no_key_costs_no_request(self):
        key = self.local.create({"permissions": "read"})

        def test(service):
            garbage = ["", "Search", "Search ", key, f"Basic {key}", f"Search {key}0", f"Search {key[:31]}", f"Search {key} {key}"]
            for value in [{}, *({"authorization": value} for value in garbage)]:
                status, headers = self.get(service, key, headers=value)
                self.assertEqual((status, headers["www-authenticate"]), (401, "Search"), value)
            self.assertEqual(self.asked(service), [])
            for scheme in ("Search", "search", "Bearer"):
                self.assertEqual(self.status(service, key, headers={"authorization": f"{scheme} {key}"}), 200)

        self.each(test)

    def test_two_headers_are_no_key(self):
        key = self.local.create({"permissions": "read"})

        def test(service):
            connection = http.client.HTTPConnection(service.address, timeout=60)
            connection.putrequest("GET", ITEM)
            for _ in range(2):
                connection.putheader("authorization", f"Search {key}")
            connection.endheaders()
            self.assertEqual(connection.getresponse().status, 401)
            connection.close()

        self.each(test)

    def test_odd_paths(self):
        """A path that a server may take for another is granted by no route. FastAPI decodes a path, axum doesn't: each asks for
        the one that it matches, and what verify can't read is denied."""
        key = self.local.create({"routes": ["GET /items/*"]})

        def test(service):
            self.assertEqual(self.status(service, key, path="/items/.."), 403)
            decodes = service is self.services["FastAPI"]
            self.assertEqual(self.status(service, key, path="/items/%3Fx"), 403 if decodes else 200)
            self.assertEqual(self.asked(service), [200, 422 if decodes else 200])

        self.each(test)

    def test_a_result_counts_for_seconds(self):
        """One verify for each key and route, also for many requests at once; a revoked key ends after FRESH seconds."""
        key = self.local.create({"permissions": "write"})

        def test(service):
            self.change(key, {"permissions": "write"})
            with ThreadPoolExecutor(20) as pool:
                self.assertEqual(set(pool.map(lambda _: self.status(service, key), range(20))), {200})
            self.assertEqual(self.asked(service), [200])
            self.status(service, key, "POST")
            self.status(service, key, path="/items/18")
            self.assertEqual(self.asked(service), [200] * 3)
            self.change(key, {"permissions": "write", "enabled": False})
            self.assertEqual(self.status(service, key), 200)
            time.sleep(FRESH)
            self.assertEqual([self.status(service, key) for _ in range(3)], [401] * 3)
            self.assertEqual(self.asked(service), [200] * 4)

        self.each(test)

    def test_no_result_counts_after_the_key_expired(self):
        """Neither in the seconds in which it would, nor when verify fails."""
        for spelling in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dt%H:%M:%Sz", "%Y-%m-%dT%H:%M:%S.12345678901+00:00"):

            def test(service):
                end = datetime.now(timezone.utc) + timedelta(seconds=3)
                key = self.local.create({"permissions": "read", "expires_at": end.strftime(spelling)})
                self.assertEqual(self.status(service, key), 200)
                while datetime.now(timezone.utc) < end:
                    time.sleep(0.1)
                self.assertEqual(self.status(service, key), 401)
                self.assertEqual(self.asked(service), [200, 200])

            self.each(test)

        def fails(service):
            end = datetime.now(timezone.utc) + timedelta(seconds=2)
            key = self.local.create({"permissions": "read", "expires_at": end.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
            self.assertEqual(self.status(service, key), 200)
            service.gateway.faults = ["done, then 503"] * 3
            time.sleep(2)
            self.assertEqual(self.status(service, key), 503)

        self.each(fails)

    def test_it_gets_over_a_failure(self):
        """A 429, a 503 and a lost connection are repeated; verify changes nothing."""

        def test(service):
            for fault in ("throttled", "done, then 503", "done, then lost"):
                key = self.local.create({"permissions": "read"})
                service.gateway.faults = [fault] * 2
                self.assertEqual(self.status(service, key), 200)
                self.assertEqual(service.gateway.faults, [])

        self.each(test)

    def test_while_verify_fails_a_known_key_works_on(self):
        """A key that was allowed in the last STALE seconds. Another gets a 503, which says neither yes nor no."""

        def test(service):
            known, denied, other = (self.local.create({"permissions": rights}) for rights in ("read", "read", "read"))
            self.change(denied, {"enabled": False})
            self.assertEqual([self.status(service, key) for key in (known, denied)], [200, 401])
            time.sleep(FRESH)
            service.gateway.faults = ["throttled"] * 9
            self.assertEqual([self.status(service, key) for key in (known, denied, other)], [200, 401, 503])
            self.assertEqual(service.gateway.faults, [])
            # In the second after a failure, nothing is asked: a throttled service is spared.
            status, headers = self.get(service, other)
            self.assertEqual((status, headers["retry-after"]), (503, "1"))
            self.assertEqual(self.asked(service), [200, 200] + [429] * 9)
            time.sleep(1)
            self.assertEqual([self.status(service, key) for key in (known, denied, other)], [200, 401, 200])

        self.each(test)

    def test_a_deployment_that_may_not_call_verify(self):
        """The gateway's 403 is of this service, not of its caller, who gets a 503."""

        def test(service):
            key = self.local.create({"permissions": "read"})
            token, service.gateway.token = service.gateway.token, "another"
            try:
                self.assertEqual(self.status(service, key), 503)
                self.assertEqual(self.asked(service), [403])
            finally:
                service.gateway.token = token

        self.each(test)

    def tearDown(self):
        """No log has a secret, and each denial is in it."""
        for key, service in product(self.local.list(), self.services.values()):
            self.assertNotIn(key[32:], service.printed())


if __name__ == "__main__":
    unittest.main()
