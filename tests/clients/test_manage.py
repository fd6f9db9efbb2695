"""The programs manage.* of examples/clients do the whole life of a key, and get over what a network does."""

import json
import re
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

from programs import MANAGE, command
from local import KEYS, SESSION_TOKEN, Gateway, Local, environment

CREATE, LIST, GET = ("POST", f"{KEYS}/"), ("GET", f"{KEYS}/"), ("GET", f"{KEYS}/KEY")
UPDATE, VERIFY, ROTATE = ("PUT", f"{KEYS}/KEY"), ("POST", f"{KEYS}/verify"), ("POST", f"{KEYS}/KEY/rotate")
DELETE = ("DELETE", f"{KEYS}/delete/KEY")
LIFE = [CREATE, LIST, GET, UPDATE, VERIFY, GET, ROTATE, DELETE, DELETE]
PRINTED = ["2", "updated", "true", "an hour", "rotated", "deleted", "deleted"]
SECRET = r"gaia_[0-9A-Z]{26}_[0-9A-Z]{26}"


class Pages(Gateway):
    """A gateway whose lists may be cut."""

    cut = ""

    def forward(self, local, method, path, headers, body):
        return super().forward(local, method, path + self.cut * (path == f"{KEYS}/"), headers, body)


class Manage(unittest.TestCase):
    def each(self, test, names=MANAGE):
        """Tests all programs side by side, as they mostly wait; each with a service of its own."""

        def with_service(name):
            with Local() as local:
                test(name, local)

        with ThreadPoolExecutor(len(names)) as pool:
            for name, done in [(name, pool.submit(with_service, name)) for name in names]:
                with self.subTest(name):
                    done.result()

    def run_program(self, name, local, *faults, token=SESSION_TOKEN, cut="", **variables):
        """The ended process, and the gateway."""
        with Pages(local, token or None) as gateway:
            gateway.faults, gateway.cut = list(faults), cut
            env = environment(gateway.address, AWS_SESSION_TOKEN=token, **variables)
            return subprocess.run(command(name), env=env, capture_output=True, text=True, timeout=60), gateway

    def lives(self, name, local, expected, *faults, **options):
        """Runs a program that succeeds. The sample key alone is left."""
        done, gateway = self.run_program(name, local, *faults, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{done.stdout}{gateway.requests}")
        lines = [re.sub(r"^20\d\d-\d\d-\d\dt\d\d:00:00z$", "an hour", line.strip('"').lower()) for line in done.stdout.splitlines()]
        self.assertEqual(lines, PRINTED)
        requests = [(method, path.removesuffix("?limit=100"), status) for method, path, status in gateway.requests]
        self.assertEqual(requests, expected)
        self.assertEqual(len(local.list()), 1)
        return gateway

    def test_the_life_of_a_key(self):
        """The same requests, whatever the language, for roles and for users. Each is repeated after it was throttled, or was
        carried out, but its response is a 503 or gets lost."""

        def test(name, local):
            for token in (SESSION_TOKEN, ""):
                self.lives(name, local, [(*step, 200) for step in LIFE], token=token)
            for fault, status in (("throttled", 429), ("done, then 503", 503), ("done, then lost", None)):
                again = {"DELETE": 404, "PUT": 412} if status != 429 else {}
                # After the 412, it sees its own change: it isn't made again.
                steps = [step for request in LIFE for step in [request] + [GET] * (request == UPDATE and status != 429)]
                pairs = [((*step, status), (*step, again.get(step[0], 200))) for step in steps]
                expected = [entry for pair in pairs for entry in pair if entry[2]]
                self.lives(name, local, expected, *[fault, None] * 20)

        self.each(test)

    def test_an_update_keeps_what_others_changed(self):
        """A colleague changes the key between the program's GET and its PUT."""

        def test(name, local):
            def colleague():
                *_, (key, config) = local.list().items()
                local.send("PUT", f"{KEYS}/{key}", {"config": config | {"owner": "search team"}})

            updates = [(*UPDATE, 412), (*GET, 200), (*UPDATE, 200)]
            expected = [*((*step, 200) for step in LIFE[:3]), *updates, *((*step, 200) for step in LIFE[4:])]
            gateway = self.lives(name, local, expected, None, None, None, colleague)
            updated = [json.loads(body)["config"] for method, _, _, body in gateway.received if method == "PUT"]
            self.assertEqual(updated[-1], {"permissions": "write", "name": "reports", "owner": "search team"})

        self.each(test)

    def test_repeating_ends_and_errors_hold_no_secret(self):
        """A 403 isn't repeated. The request that is throttled has a key in its body, or an ID in its path."""

        def test(name, local):
            for first, status, options in (
                (0, [403], {"AWS_SECRET_ACCESS_KEY": "another/secret"}),
                (4, [429] * 4, {}),
                (5, [429] * 4, {}),
            ):
                done, gateway = self.run_program(name, local, *[None] * first, *["throttled"] * 9, **options)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual([status for *_, status in gateway.requests], [200] * first + status)
                self.assertRegex(done.stderr, f"{status[0]}|GatewayError")
                self.assertNotRegex(done.stderr + done.stdout, f"{SECRET}|another/secret")
                for key in list(local.list())[1:]:
                    local.send("DELETE", f"{KEYS}/delete/{key}")

        self.each(test)

    def test_lists_have_pages(self):
        """Nothing of a list gets lost. The programs without paging ask for 100 keys."""

        def test(name, local):
            for _ in range(4):
                local.create({})
            done, gateway = self.run_program(name, local, cut="?limit=2")
            self.assertEqual((done.returncode, done.stderr, done.stdout.split()[0]), (0, "", "6"))
            self.assertEqual(sum("?after=" in path for _, path, _ in gateway.requests), 2)

        self.each(test, ["requests", "JavaScript", "Rust"])
