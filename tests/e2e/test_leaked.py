"""`gaia-keys leaked`: a key that gateways have in their caches is denied at once."""

import re

import deployment
import stack_command
import test_protected
from deployment import Stack, templates


class Leaked(stack_command.Case, test_protected.Case):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cls.protected = Stack("leaked", templates.EXAMPLE, AuthorizerCacheSeconds=300)

    def cached(self):
        """A key that each gateway allows, from now on without asking the authorizer."""
        key = self.keys.create(permissions="read", name="reports")
        self.assertEqual(self.statuses(key), [200, 200])
        return key

    def test_disabled(self):
        key = self.cached()
        self.keys.send("PUT", f"/{key[:31]}", {"config": {"permissions": "read", "enabled": False}}).expect(200)
        self.assertEqual(self.statuses(key), [200, 200])  # which is why there is a command
        self.keys.send("PUT", f"/{key[:31]}", {"config": {"permissions": "read", "name": "reports"}}).expect(200)

        said = self.gaia_keys("leaked", key, "--disable", "--yes")
        self.assertEqual(self.statuses(key), [403, 403])
        self.assertIn("name:         reports", said)
        for api in ("HTTP leaked", "REST leaked"):
            self.assertRegex(said, rf"(?m)^{api}.* emptied\b")
        self.assertNotIn("HTTP gaia-api-keys", said)  # the management API, which has no such authorizer
        self.assertIn(f"{key[:31]} is denied: disabled (verify)", said)
        self.assertRegex(said, r"Last allowed use: \d{4}-\d\d-\d\dT\d\d:00:00Z")
        self.assertEqual(self.denials(key), ["disabled"] * 2)
        said = self.gaia_keys("leaked", "-", "--disable", "--yes", stdin=key)
        self.assertRegex(said, r"(?m)^disabled +127\.0\.0\.1 +2 ")

    def test_rotated(self):
        key = self.cached()
        (new,) = re.findall(r"gaia_\w{53}", self.gaia_keys("leaked", key[:31], "--rotate", "--yes"))
        self.assertEqual(self.statuses(key), [403, 403])
        self.assertEqual(self.statuses(new), [200, 200])
        said = self.gaia_keys("leaked", key[:31], "--rotate", "--yes")  # its output was lost
        self.assertEqual(re.findall(r"gaia_\w{53}", said), [new])
        self.assertIn("is denied: expired", said)

    def test_in_the_grace_period_of_a_rotation_it_is_disabled_and_its_successor_stays(self):
        key = self.cached()
        new = self.keys.send("POST", f"/{key[:31]}/rotate", {"grace_seconds": 600}).expect(200)["api_key"]
        said = self.gaia_keys("leaked", key, "--rotate", "--yes")
        self.assertIn("can't be rotated: it was rotated already", said)
        self.assertIn(f"gaia-keys get {new[:31]} --show-keys", said)
        self.assertEqual(self.statuses(key), [403, 403])
        self.assertEqual(self.statuses(new), [200, 200])
        self.assertNotIn(new, said)

    def test_a_deleted_key_is_still_in_caches(self):
        key = self.cached()
        self.keys.send("DELETE", f"/delete/{key}").expect(200)
        self.assertEqual(self.statuses(key), [200, 200])
        self.assertIn("is denied: not_found", self.gaia_keys("leaked", key[:31], "--yes", "--disable"))
        self.assertEqual(self.statuses(key), [403, 403])

    def test_a_cache_that_cannot_be_emptied(self):
        key = self.cached()
        caller = self.caller(("Allow", "*"), ("Deny", "apigateway:DELETE"))
        said = self.gaia_keys("leaked", key, "--disable", "--yes", caller=caller, status=1)
        self.assertIn("not all caches could be emptied", said.splitlines()[-1])
        self.assertIn("is denied: disabled (verify)", said)

    def test_nothing_is_done_unasked(self):
        key = self.cached()
        for arguments, stdin in ((["--disable"], ""), (["--yes"], ""), ([], ""), ([], key)):
            typed = "-" if stdin else key
            self.assertIn("--yes", self.gaia_keys("leaked", typed, *arguments, stdin=stdin, status=2))
        self.assertIn("[y/N]", self.gaia_keys("leaked", key, "--disable", typed="n\n", status=1))
        self.assertEqual(self.statuses(key), [200, 200])
        said = self.gaia_keys("leaked", "secret", "--disable", "--yes", status=2)
        self.assertIn("expected a key, or its ID", said)
