"""The page that `cargo local` serves at /docs, in a real browser: python -m unittest discover -s tests/page"""

import re
import unittest

from page import CREATE, ROOT, Local, Page, browser

LIST, UPDATE, DELETE = "keys-listApiKeys", "keys-updateApiKey", "keys-deleteApiKey"
GET, ROTATE, VERIFY = "keys-getApiKey", "keys-rotateApiKey", "checks-verifyApiKey"
DEMO = READ_DEMO, WRITE_DEMO = "demo-readDemo", "demo-writeDemo"


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())
        cls.browser = cls.enterClassContext(browser())

    def open(self):
        """A page that, by the end of the test, has neither logged an error nor sent a request elsewhere."""
        page = Page(self.browser, self.local)
        self.addCleanup(page.page.close)
        self.addCleanup(self.check, page)
        return page

    def check(self, page):
        self.assertEqual(page.complaints, [])
        elsewhere = [url for url in page.requests if not url.startswith((f"http://{self.local.address}/", "data:"))]
        self.assertEqual(elsewhere, [])

    def test_the_life_of_a_key(self):
        page = self.open()
        key = page.ask(CREATE)[1]["api_key"]
        self.assertEqual(self.local.list()[key], {"permissions": "read"})
        self.assertEqual([entry["api_key"] for entry in page.ask(LIST)[1]], list(self.local.list()))
        self.assertEqual(page.ask(READ_DEMO)[0], 401)
        page.authorize(f"Search {key}")
        self.assertEqual([page.ask(name)[0] for name in DEMO], [200, 403])
        config = {"permissions": "write", "team": "search"}
        self.assertEqual(page.ask(UPDATE, {"config": config}, api_key=key), (200, {"api_key": key, "result": "updated"}))
        self.assertEqual([page.ask(name)[0] for name in DEMO], [200, 200])
        self.assertIsNotNone(page.ask(GET, api_key=key[:31])[1]["last_used_at"])
        new = page.ask(ROTATE, {"grace_seconds": 3600}, api_key=key[:31])[1]["api_key"]
        for copied in (new, f"Bearer {new}"):
            page.authorize(copied)
            self.assertEqual(page.ask(READ_DEMO)[0], 200)
        self.assertEqual(page.ask(DELETE, api_key=new), (200, {"api_key": new, "result": "deleted"}))
        self.assertEqual(page.ask(READ_DEMO), (403, {"message": "Forbidden"}))
        self.assertEqual(page.ask(VERIFY, {"api_key": new}), (200, {"valid": False, "reason": "not_found"}))

        header = {"Idempotency-Key": "order 4711"}
        self.assertEqual(*[page.ask(CREATE, **header)[1]["api_key"] for _ in range(2)])
        status, response = page.ask(CREATE, {"config": {"permissions": "admin"}})
        self.assertEqual((status, response["detail"][0]["loc"]), (422, ["body", "config", "permissions"]))
        self.assertEqual(page.ask(CREATE, '{"config": {')[0], 422)

    def test_it_shows_openapi_yaml_and_the_demo_route(self):
        operations = re.findall(r"operationId: (\w+)\n +tags: \[(\w+)\]", (ROOT / "openapi.yaml").read_text())
        page = self.open().page
        shown = [block.get_attribute("id") for block in page.locator(".opblock").all()]
        self.assertCountEqual(shown, [f"operations-{name}" for name in (*(f"{tag}-{name}" for name, tag in operations), *DEMO)])
        self.assertEqual(page.locator(".servers option").all_inner_texts(), [f"http://{self.local.address} - cargo local"])
        self.assertEqual(page.locator(".errors-wrapper").count(), 0)
        self.assertIn("To call the demo route with an API key", page.locator(".schemes").inner_text())
        self.assertEqual(page.locator(".models.is-open .model-container").count(), 0, "schemas are collapsed")

    def test_the_browser_sends_no_request_elsewhere(self):
        """Even if a script tries to: DynamoDB is another origin."""
        page = Page(self.browser, self.local)
        self.addCleanup(page.page.close)
        ask = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'asked', () => 'blocked')"
        self.assertEqual(page.page.evaluate(ask, f"http://{self.local.dynamodb}/"), "blocked")
        self.assertEqual(page.page.evaluate(ask, "/openapi.yaml"), "asked")


if __name__ == "__main__":
    unittest.main()
