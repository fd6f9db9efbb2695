"""Takes the README's screenshot, docs/swagger-ui.png: PYTHONPATH=tests/docs python tests/page/screenshot.py"""

from local import ROOT, Local
from test_page import CREATE, Page, browser

with Local(port=3000) as local, browser() as chromium:
    page = Page(chromium, local, viewport={"width": 1280, "height": 2000})
    page.ask(CREATE)
    operation = page.operation(CREATE)
    operation.locator("textarea").evaluate("area => { area.style.minHeight = 0; area.style.height = '7em'; }")
    page.page.mouse.move(0, 0)
    top = page.page.locator(".scheme-container").bounding_box()["y"] + 20
    response = operation.locator(".live-responses-table .highlight-code").bounding_box()
    clip = {"x": 0, "y": top, "width": 1280, "height": response["y"] + response["height"] + 4 - top}
    page.page.screenshot(path=ROOT / "docs/swagger-ui.png", clip=clip)
