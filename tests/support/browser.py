"""A real headless Chromium for pages, and a server for them that notes what is asked of it.

Without Chromium or its driver a test is skipped, and where TUNEDB_EXPECT_BROWSER is set, as in CI, it fails.
"""

import contextlib
import http.server
import shutil
import threading

from expected import require

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing():
    """What a test of a page lacks here, or an empty string."""
    if not any(map(shutil.which, BROWSERS)):
        return "no Chromium is installed (apt-get install chromium)"
    if not shutil.which("chromedriver"):
        return "no chromedriver is installed (apt-get install chromium-driver)"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    return ""


@contextlib.contextmanager
def chromium():
    """A browser whose console is logged."""
    require(missing(), "TUNEDB_EXPECT_BROWSER")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def served(text):
    """The address of a page on this machine, and the paths that are asked for as they come."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = text.encode() if self.path == "/" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
