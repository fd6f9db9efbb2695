"""The page that `cargo local` serves at /docs, in a real browser: python -m unittest discover -s tests/page"""

import re
import unittest

from page import CREATE, DELETE, GET, LIST, READ_DEMO, ROOT, ROTATE, UPDATE, VERIFY, WRITE_DEMO, Browser, Local


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())
        cls.browser = cls.enterClassContext(Browser())

    def open(self, path="/docs"):
        """A page that, by the end of the test, has neither logged an error nor sent a request elsewhere."""
        page = self.browser.open(self.local, path)
        self.addCleanup(page.page.close)
        self.addCleanup(self.check, page)
        return page

    def check(self, page):
        self.assertEqual(page.complaints, [])
        elsewhere = [url for url in page.requests if not url.startswith((f"http://{self.local.address}/", "data:"))]
        self.assertEqual(elsewhere, [])

    def stored(self, key):
        return self.local.table().get_item(Key={"service": "demo", "id": key[5:31]}).get("Item")

    def test_the_life_of_a_key(self):
        page = self.open()
        status, created = page.ask(CREATE)
        self.assertEqual((status, created["result"]), (200, "created"))
        key = created["api_key"]
        self.assertEqual(self.stored(key)["config"].replace(" ", "").replace("\n", ""), '{"permissions":"read"}')
        self.assertIn({"api_key": key, "config": {"permissions": "read"}}, page.ask(LIST)[1])

        page.authorize(f"Search {key}")
        self.assertEqual(page.ask(READ_DEMO)[0], 200)
        self.assertEqual(page.ask(WRITE_DEMO), (403, {"message": "Forbidden"}))
        config = {"permissions": "write", "team": "search"}
        self.assertEqual(page.ask(UPDATE, {"config": config}, api_key=key), (200, {"api_key": key, "result": "updated"}))
        self.assertIn({"api_key": key, "config": config}, page.ask(LIST)[1])
        for operation in (READ_DEMO, WRITE_DEMO):
            status, response = page.ask(operation)
            self.assertEqual((status, response["authorizer"]["key_id"]), (200, key[:31]))

        self.assertEqual(page.ask(DELETE, api_key=key), (200, {"api_key": key, "result": "deleted"}))
        self.assertNotIn(key, [entry["api_key"] for entry in page.ask(LIST)[1]])
        self.assertEqual(page.ask(READ_DEMO), (403, {"message": "Forbidden"}))
        self.assertEqual(page.ask(DELETE, api_key=key), (404, {"detail": "API key not found"}))
        self.assertIsNone(self.stored(key))

    def test_a_key_is_used_and_rotated(self):
        page = self.open()
        key = page.ask(CREATE)[1]["api_key"]
        self.assertIsNone(page.ask(GET, api_key=key[:31])[1]["last_used_at"])
        page.authorize(key)
        self.assertEqual(page.ask(READ_DEMO)[0], 200)
        status, details = page.ask(GET, api_key=key[:31])
        self.assertEqual((status, details["api_key"]), (200, key))
        self.assertRegex(details["last_used_at"], r"^20\d\d-\d\d-\d\dT\d\d:00:00Z$")
        self.assertIn(details, page.ask(LIST, details="true")[1])

        status, rotated = page.ask(ROTATE, {"grace_seconds": 3600}, api_key=key[:31])
        self.assertEqual((status, rotated["result"], rotated["rotated_from"]), (200, "rotated", key[:31]))
        self.assertEqual(page.ask(READ_DEMO)[0], 200, "the old key, in the grace period")
        page.authorize(rotated["api_key"])
        self.assertEqual(page.ask(READ_DEMO)[0], 200)
        self.assertEqual(page.ask(GET, api_key=key[:31])[1]["rotated_to"], rotated["api_key"][:31])
        status, again = page.ask(ROTATE, {"grace_seconds": 0, "expires_at": None}, api_key=key[:31])
        self.assertEqual((status, rotated["api_key"][:31] in again["detail"]), (409, True))

    def test_a_key_for_one_route(self):
        page = self.open()
        key = page.ask(CREATE, {"config": {"routes": ["GET /demo"]}})[1]["api_key"]
        page.authorize(key)
        self.assertEqual(page.ask(READ_DEMO)[0], 200)
        self.assertEqual(page.ask(WRITE_DEMO), (403, {"message": "Forbidden"}))
        self.assertEqual(page.ask(VERIFY, {"api_key": key, "route": "POST /demo"}), (200, {"valid": False, "reason": "route"}))

    def test_a_key_is_pasted_as_it_was_copied(self):
        page = self.open()
        self.assertEqual(page.ask(READ_DEMO), (401, {"message": "Unauthorized"}))
        page.authorize(self.local.create({"permissions": "read"}))
        self.assertEqual(page.ask(READ_DEMO)[0], 200)
        page.authorize("Bearer " + self.local.create({"permissions": "write"}))
        self.assertEqual(page.ask(WRITE_DEMO)[0], 200)

    def test_optional_parameters_stay_empty(self):
        page = self.open()
        first, second = (page.ask(CREATE)[1]["api_key"] for _ in range(2))
        self.assertNotEqual(first, second)
        self.assertEqual([entry["api_key"] for entry in page.ask(LIST)[1]], list(self.local.list()))
        header = {"Idempotency-Key": "order 4711"}
        first, second = (page.ask(CREATE, **header)[1]["api_key"] for _ in range(2))
        self.assertEqual(first, second)

    def test_mistakes_are_shown(self):
        page = self.open()
        before = self.local.list()
        for body, place in (
            ({"config": {"permissions": "admin"}}, ["body", "config", "permissions"]),
            ({"config": {"expiresAt": "2030-01-01T00:00:00Z"}}, ["body", "config", "expiresAt"]),
            ('{"config": {', None),
        ):
            status, response = page.ask(CREATE, body)
            self.assertEqual(status, 422)
            if place:
                self.assertEqual([mistake["loc"] for mistake in response["detail"]], [place])
        self.assertEqual(self.local.list(), before)

    def test_it_shows_openapi_yaml_and_the_demo_route(self):
        operations = re.findall(r"operationId: (\w+)\n +tags: \[(\w+)\]", (ROOT / "openapi.yaml").read_text())
        expected = [f"operations-{tag}-{name}" for name, tag in operations]
        for path in ("/docs", "/docs/"):
            page = self.open(path)
            shown = [block.get_attribute("id") for block in page.page.locator(".opblock").all()]
            self.assertCountEqual(shown, [*expected, f"operations-{READ_DEMO}", f"operations-{WRITE_DEMO}"])
            servers = page.page.locator(".servers option").all_inner_texts()
            self.assertEqual(servers, [f"http://{self.local.address} - cargo local"])
            self.assertEqual(page.page.locator(".errors-wrapper").count(), 0)
            self.assertIn("To call the demo route with an API key", page.page.locator(".schemes").inner_text())
            self.assertEqual(page.page.locator(".models.is-open .model-container").count(), 0, "schemas are collapsed")
            self.assertNotIn("Cache-Control", page.page.locator("#page").inner_text().split("Errors")[1])
        self.assertEqual(page.ask(VERIFY)[1], {"valid": False, "reason": "invalid"}, "its example names no key")
        self.assertIn(f"  http://{self.local.address}/docs in a browser, or\n", self.local.printed)

    def test_the_browser_sends_no_request_elsewhere(self):
        """Even if a script tries to: DynamoDB is another origin."""
        page = self.browser.open(self.local)
        self.addCleanup(page.page.close)
        ask = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'asked', () => 'blocked')"
        self.assertEqual(page.page.evaluate(ask, f"http://{self.local.dynamodb}/"), "blocked")
        self.assertEqual(page.page.evaluate(ask, "/openapi.yaml"), "asked")
        self.assertIn("Content Security Policy", "".join(page.complaints))


if __name__ == "__main__":
    unittest.main()
