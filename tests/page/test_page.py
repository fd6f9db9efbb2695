"""The page that `cargo local` serves at /docs, in a headless Chromium."""

import contextlib
import json
import shutil
import unittest

from local import KEYS, Local
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
CREATE, LIST, UPDATE = "keys-createApiKey", "keys-listApiKeys", "keys-updateApiKey"
GET, ROTATE, DELETE, VERIFY = "keys-getApiKey", "keys-rotateApiKey", "keys-deleteApiKey", "checks-verifyApiKey"
DEMO = READ_DEMO, WRITE_DEMO = "demo-readDemo", "demo-writeDemo"


@contextlib.contextmanager
def browser():
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        raise SystemExit(f"there is no {', '.join(NAMES)}; Debian has it: apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox doesn't start for root, nor in most containers; it only loads our own page.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Page:
    def __init__(self, browser, local, **options):
        self.page, self.complaints = browser.new_page(**options), []
        self.page.on("console", self.listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"http://{local.address}/docs")
        self.operation(CREATE).wait_for()

    def listen(self, message):
        """Chromium calls every 4xx an error; those of the API and of the demo route are expected."""
        url = message.location["url"]
        expected = (KEYS in url or url.endswith("/demo")) and message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not expected:
            self.complaints.append(f"{message.text} ({url})")

    def operation(self, name):
        return self.page.locator(f"#operations-{name}")

    def ask(self, name, body=None, **parameters):
        """Fills in and sends an operation's form. Returns the status and the body that the page shows."""
        operation = self.operation(name)
        response = operation.locator(".live-responses-table tbody .response")
        if response.count():
            operation.get_by_role("button", name="Clear").click()
            response.wait_for(state="detached")
        else:
            operation.locator(".opblock-summary-control").click()
            operation.get_by_role("button", name="Try it out").click()
        for parameter, value in parameters.items():
            operation.locator(f'tr[data-param-name="{parameter}"] input').fill(value)
        if body is not None:
            operation.locator("textarea.body-param__text").fill(body if isinstance(body, str) else json.dumps(body))
        operation.get_by_role("button", name="Execute").click()
        status = response.locator(".response-col_status").inner_text()
        return int(status.split()[0]), json.loads(response.locator(".highlight-code pre").inner_text())

    def authorize(self, value):
        """Enters a value in the Authorize dialog."""
        self.page.locator(".auth-wrapper .authorize").first.click()
        dialog = self.page.locator(".dialog-ux .modal-ux")
        log_out = dialog.get_by_text("Logout")
        if log_out.count():
            log_out.click()
        dialog.locator("input").fill(value)
        dialog.locator("button.authorize").click()
        log_out.wait_for()
        dialog.locator("button.btn-done").click()
        dialog.wait_for(state="detached")


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())
        cls.browser = cls.enterClassContext(browser())

    def open(self):
        """A page that logs no error: a request elsewhere is one, as the browser blocks it."""
        page = Page(self.browser, self.local)
        self.addCleanup(page.page.close)
        self.addCleanup(lambda: self.assertEqual(page.complaints, []))
        return page

    def test_the_life_of_a_key(self):
        """With every operation of openapi.yaml, and with the demo route."""
        page = self.open()
        self.assertEqual(page.page.locator(".errors-wrapper, .models.is-open .model-container").count(), 0)
        self.assertIn("To call the demo route with an API key", page.page.locator(".schemes").inner_text())
        self.assertEqual(page.page.locator(".opblock").count(), 9, "this test has no other")
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

    def test_the_browser_sends_no_request_elsewhere(self):
        """Even if a script tries to: DynamoDB is another origin."""
        page = Page(self.browser, self.local)
        self.addCleanup(page.page.close)
        ask = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'asked', () => 'blocked')"
        self.assertEqual(page.page.evaluate(ask, f"http://{self.local.dynamodb}/"), "blocked")
        self.assertEqual(page.page.evaluate(ask, "/openapi.yaml"), "asked")
