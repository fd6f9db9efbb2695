"""The services of examples/clients that check keys themselves: what their callers get, and when verify is asked."""

import json
import pathlib
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import product
from urllib.parse import unquote

from local import KEYS, Gateway, Local, exchange
from programs import VERIFY, Service, command
from urllib3.response import HTTPHeaderDict

FRESH = 5  # seconds, as in the programs
ITEM = "/items/17"


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A gateway and a service for each language, with one local service behind them all."""
        cls.local = cls.enterClassContext(Local())
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.services = {}
        for name in VERIFY:
            gateway = cls.enterClassContext(Gateway(cls.local))
            cls.services[name] = cls.enterClassContext(Service(command(name), gateway, folder / f"{name}.log"))

    def each(self, test):
        """Runs a test with all services side by side. No request or fault of one test is left for the next."""
        with ThreadPoolExecutor() as pool:
            for service in self.services.values():
                service.gateway.requests.clear()
                service.gateway.faults = []
            for name, done in [(name, pool.submit(test, service)) for name, service in self.services.items()]:
                with self.subTest(name):
                    done.result()
        for key, service in product(self.local.list(), self.services.values()):
            self.assertNotIn(key[32:], service.log.read_text())

    def get(self, service, *values, method="GET", path=ITEM):
        """The status and headers of the response to a request with these values of the header."""
        headers = HTTPHeaderDict([("authorization", value) for value in values])
        response = exchange(service.address, method, path, None, headers)
        if response.status == 200:
            expected = {"item": unquote(path.rpartition("/")[2]), "key_id": values[0].split()[1][:31]}
            self.assertEqual(json.loads(response.data), expected)
        return response.status, response.headers

    def statuses(self, service, *keys, **options):
        return [self.get(service, f"Search {key}", **options)[0] for key in keys]

    def create(self, count=1, **config):
        return [self.local.create({"permissions": "read"} | config) for _ in range(count)]

    def change(self, key, **config):
        self.assertEqual(self.local.send("PUT", f"{KEYS}/{key}", {"config": config})[0], 200)

    def asked(self, service):
        """The statuses of verify that reached the gateway."""
        return [status for _, path, status in service.gateway.requests if path == f"{KEYS}/verify"]

    def test_what_a_key_may_do(self):
        """401 for what is no living key, 403 for a key that doesn't grant the request; a key without rights grants nothing."""
        (deleted,) = self.create()
        self.local.send("DELETE", f"{KEYS}/delete/{deleted}")
        table = [
            ({"permissions": "read"}, 200, 403),
            ({"permissions": "write"}, 200, 200),
            ({"routes": ["POST /items/*"]}, 403, 200),
            ({}, 403, 403),
            ({"permissions": "read", "allowed_ips": ["127.0.0.1"]}, 200, 403),
            ({"permissions": "read", "allowed_ips": ["192.0.2.1"]}, 403, 403),
            ({"permissions": "read", "enabled": False}, 401, 401),
            ({"permissions": "read", "expires_at": "2020-01-31T12:00:00Z"}, 401, 401),
        ]
        keys = [(self.local.create(config), get, post) for config, get, post in table] + [(deleted, 401, 401)]

        def test(service):
            for key, get, post in keys:
                self.assertEqual(self.statuses(service, key) + self.statuses(service, key, method="POST"), [get, post])
            # A path that a server may take for another is granted by no route. FastAPI decodes a path, axum doesn't: each asks
            # for the one that it matches, and what verify can't read is denied.
            decodes, (key,) = service is self.services["FastAPI"], self.create(permissions=None, routes=["GET /items/*"])
            self.assertEqual(self.statuses(service, key, path="/items/.."), [403])
            self.assertEqual(self.statuses(service, key, path="/items/%3Fx"), [403 if decodes else 200])

        self.each(test)

    def test_what_is_no_key_costs_no_request(self):
        (key,) = self.create()
        garbage = ["", "Search", "Search ", key, f"Basic {key}", f"Search {key}0", f"Search {key[:31]}", f"Search {key} {key}"]

        def test(service):
            for values in [(), *((value,) for value in garbage), [f"Search {key}"] * 2]:
                status, headers = self.get(service, *values)
                self.assertEqual((status, headers["www-authenticate"]), (401, "Search"), values)
            self.assertEqual(self.asked(service), [])
            for scheme in ("Search", "search", "Bearer"):
                self.assertEqual(self.get(service, f"{scheme} {key}")[0], 200)

        self.each(test)

    def test_a_result_counts_for_seconds(self):
        """One verify for each key and route, also for many requests at once; a revoked key ends after FRESH seconds."""

        def test(service):
            (key,) = self.create(permissions="write")
            with ThreadPoolExecutor(20) as pool:
                self.assertEqual(set(pool.map(lambda _: self.statuses(service, key)[0], range(20))), {200})
            self.assertEqual(self.asked(service), [200])
            self.statuses(service, key, method="POST")
            self.statuses(service, key, path="/items/18")
            self.assertEqual(self.asked(service), [200] * 3)
            self.change(key, enabled=False)
            self.assertEqual(self.statuses(service, key), [200])
            time.sleep(FRESH)
            self.assertEqual(self.statuses(service, key, key, key), [401] * 3)
            self.assertEqual(self.asked(service), [200] * 4)

        self.each(test)

    def test_no_result_counts_after_its_end(self):
        """Whatever ends the key: neither in the seconds in which it would, nor when verify fails. Nor if the end can't be read."""

        def test(service):
            soon = datetime.now(timezone.utc) + timedelta(seconds=2)
            keys, ends = self.create(3), (f"{soon:%Y-%m-%dT%H:%M:%S}.000Z", "2999-12-31T23:59:59.000Z", "soon")
            service.gateway.faults = [{"valid_until": end} for end in ends]
            self.assertEqual(self.statuses(service, *keys), [200] * 3)
            time.sleep(2)
            service.gateway.faults = ["throttled"] * 6
            self.assertEqual(self.statuses(service, *keys), [503, 200, 503])

        self.each(test)

    def test_while_verify_fails_a_known_key_works_on(self):
        """A failure is repeated twice. Another key than a known one gets a 503 then, which says neither yes nor no."""

        def test(service):
            for fault, (key,) in [(fault, self.create()) for fault in ("throttled", "done, then 503", "done, then lost")]:
                service.gateway.faults = [fault] * 2
                self.assertEqual(self.statuses(service, key), [200])
                self.assertEqual(service.gateway.faults, [])
            service.gateway.requests.clear()
            known, denied, other = self.create(3)
            self.change(denied, enabled=False)
            self.assertEqual(self.statuses(service, known, denied), [200, 401])
            time.sleep(FRESH)
            service.gateway.faults = ["throttled"] * 9
            self.assertEqual(self.statuses(service, known, denied, other), [200, 401, 503])
            self.assertEqual(service.gateway.faults, [])
            # In the second after a failure, nothing is asked: a throttled service is spared.
            status, headers = self.get(service, f"Search {other}")
            self.assertEqual((status, headers["retry-after"]), (503, "1"))
            self.assertEqual(self.asked(service), [200, 200] + [429] * 9)
            time.sleep(1)
            self.assertEqual(self.statuses(service, known, denied, other), [200, 401, 200])
            # A gateway's 403 is of this service, not of its caller.
            service.gateway.requests.clear()
            token, service.gateway.token = service.gateway.token, "another"
            self.assertEqual((self.statuses(service, *self.create()), self.asked(service)), ([503], [403]))
            service.gateway.token = token

        self.each(test)
