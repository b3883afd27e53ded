"""One Chromium for all pages: Debian's where it is installed, Playwright's otherwise."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEBIAN = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        path = DEBIAN if DEBIAN.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def opened(browser):
    """Opens an address in a page, which must complain of nothing and ask for nothing else but of the same server."""

    @contextmanager
    def open_page(address, width=1200, **options):
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        page, complaints, requests = context.new_page(), [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda made: requests.append(made.url))
        page.goto(address)
        yield page
        own = ("http://127.0.0.1", "blob:") if address.startswith("http:") else address
        assert not complaints
        assert not [url for url in requests if not url.startswith("data:") and not url.startswith(own)]
        context.close()

    return open_page


_CUT = """main => [...document.querySelectorAll(".methods tbody tr")].flatMap(row =>
  [row.querySelector("th"), row.querySelector(main), row.querySelector(".tag")].filter(part => {
    const box = part.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth || box.height < 10 || part.scrollWidth > part.clientWidth + 1;
  }).map(part => part.textContent.trim())).concat(
  [...document.querySelectorAll(".methods")].filter(box => box.scrollWidth > box.clientWidth).map(() => "scrolls"))"""


@pytest.fixture(scope="session")
def cut():
    """Says which names, main numbers and verdicts of the table of methods cannot be seen whole at some width."""

    def find(page, width, main):
        page.set_viewport_size({"width": width, "height": 844})
        return page.evaluate(_CUT, main)

    return find
