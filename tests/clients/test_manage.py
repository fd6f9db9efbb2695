"""The programs manage.* of examples/clients do the whole life of a key, and get over what a network does."""

import itertools
import json
import re
import subprocess
import unittest
from unittest import mock

from programs import MANAGE
from local import KEYS, SESSION_TOKEN, Gateway, Local, environment

CREATE, LIST, GET = ("POST", f"{KEYS}/"), ("GET", f"{KEYS}/"), ("GET", f"{KEYS}/KEY")
UPDATE, VERIFY, ROTATE = ("PUT", f"{KEYS}/KEY"), ("POST", f"{KEYS}/verify"), ("POST", f"{KEYS}/KEY/rotate")
DELETE = ("DELETE", f"{KEYS}/delete/KEY")
LIFE = [CREATE, LIST, GET, UPDATE, VERIFY, GET, ROTATE, DELETE, DELETE]
PRINTED = ["2", "updated", "true", "an hour", "rotated", "deleted", "deleted"]
SECRET = r"gaia_[0-9A-Z]{26}_[0-9A-Z]{26}"


class TwoPerPage(Gateway):
    """A gateway before a service whose responses hold two keys at most."""

    def forward(self, local, method, path, headers, body):
        return super().forward(local, method, f"{path}?limit=2" if path == f"{KEYS}/" else path, headers, body)


class Manage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())

    def run_program(self, name, faults=(), token=SESSION_TOKEN, local=None, **variables):
        """The ended process, and the requests that reached the gateway, with their statuses."""
        with Gateway(local or self.local, token or None) as gateway:
            gateway.faults = list(faults)
            env = environment(gateway.address, AWS_SESSION_TOKEN=token, **variables)
            done = subprocess.run(MANAGE[name](), env=env, capture_output=True, text=True, timeout=60)
        return done, gateway.requests

    def printed(self, name, **options):
        """What a program printed that succeeded, and its requests."""
        done, requests = self.run_program(name, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{done.stdout}{requests}")
        lines = [line.strip('"').lower() for line in done.stdout.splitlines()]
        lines = [re.sub(r"^20\d\d-\d\d-\d\dt\d\d:00:00z$", "an hour", line) for line in lines]
        return lines, [(method, path.removesuffix("?limit=100"), status) for method, path, status in requests]

    def test_the_life_of_a_key(self):
        """The same requests, whatever the language, for roles and for users."""
        for name, token in itertools.product(MANAGE, (SESSION_TOKEN, "")):
            with self.subTest(name, token=token):
                printed, requests = self.printed(name, token=token)
                self.assertEqual(printed, PRINTED)
                self.assertEqual(requests, [(*request, 200) for request in LIFE])
                self.assertEqual(len(self.local.list()), 1, "the sample key alone is left")

    def test_each_request_is_repeated(self):
        """Each is carried out, but its response gets lost or is a 503, or is throttled. No key is left over."""
        faults = [("throttled", 429), ("done, then 503", 503), ("done, then lost", None)]
        for name, (fault, status) in itertools.product(MANAGE, faults):
            with self.subTest(name, fault=fault):
                printed, requests = self.printed(name, faults=[fault, None] * 20)
                self.assertEqual(printed, PRINTED)
                again = {"DELETE": 404, "PUT": 412} if status != 429 else {}
                # After the 412, it sees its own change: it isn't made again.
                steps = [step for request in LIFE for step in [request] + [GET] * (request == UPDATE and status != 429)]
                expected = [[(*step, status), (*step, again.get(step[0], 200))] for step in steps]
                self.assertEqual(requests, [entry for pair in expected for entry in pair if entry[2]])
                self.assertEqual(len(self.local.list()), 1, "the sample key alone is left")

    def test_an_update_keeps_what_others_changed(self):
        """A colleague changes the key between the program's GET and its PUT."""

        def colleague():
            *_, (key, config) = self.local.list().items()
            self.local.send("PUT", f"{KEYS}/{key}", {"config": config | {"owner": "search team"}})

        for name in MANAGE:
            with self.subTest(name), mock.patch.object(Gateway, "forward", autospec=True, side_effect=Gateway.forward) as forward:
                printed, requests = self.printed(name, faults=[None, None, None, colleague])
                self.assertEqual(printed, PRINTED)
                updates = [(*UPDATE, 412), (*GET, 200), (*UPDATE, 200)]
                self.assertEqual(requests, [*((*step, 200) for step in LIFE[:3]), *updates, *((*step, 200) for step in LIFE[4:])])
                last = [call.args[-1] for call in forward.call_args_list if call.args[2] == "PUT"][-1]
                expected = {"permissions": "write", "name": "reports", "owner": "search team"}
                self.assertEqual(json.loads(last)["config"], expected)

    def test_what_can_not_get_better_is_not_repeated(self):
        for name in MANAGE:
            with self.subTest(name):
                done, requests = self.run_program(name, AWS_SECRET_ACCESS_KEY="another/secret")
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual([status for *_, status in requests], [403])
                self.assertRegex(done.stderr, "403|GatewayError")
                self.assertNotIn("another/secret", done.stderr + done.stdout)

    def test_repeating_ends_and_errors_hold_no_secret(self):
        """The request that fails has a key in its body, or an ID in its path."""
        for name, first in itertools.product(MANAGE, (4, 5)):
            with self.subTest(name, first=LIFE[first]):
                done, requests = self.run_program(name, faults=[None] * first + ["throttled"] * 9)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual([status for *_, status in requests], [200] * first + [429] * 4)
                self.assertRegex(done.stderr, "429|GatewayError")
                self.assertNotRegex(done.stderr + done.stdout, SECRET)
                _, key = self.local.list()
                self.local.send("DELETE", f"{KEYS}/delete/{key}")

    def test_lists_have_pages(self):
        """Nothing of a list gets lost. The programs without paging ask for 100 keys."""
        more = [self.local.create({}) for _ in range(4)]
        for name in ("requests", "JavaScript", "Rust"):
            with self.subTest(name), TwoPerPage(self.local) as gateway:
                command = MANAGE[name]()
                done = subprocess.run(command, env=environment(gateway.address), capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr, done.stdout.split()[0]), (0, "", "6"))
                self.assertEqual(sum("?after=" in path for _, path, _ in gateway.requests), 2)
        for key in more:
            self.local.send("DELETE", f"{KEYS}/delete/{key}")


if __name__ == "__main__":
    unittest.main()
