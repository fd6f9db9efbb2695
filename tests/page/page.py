"""The page of `cargo local` in a headless Chromium, used as a person does."""

import contextlib
import json
import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/docs"))

from local import KEYS, Local  # noqa: E402, F401 (Local is for the tests)

NAMES = ("chromium", "chromium-browser", "google-chrome")
CREATE = "keys-createApiKey"


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
        self.page, self.requests, self.complaints = browser.new_page(**options), [], []
        page = self.page
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self.listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(f"http://{local.address}/docs")
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
