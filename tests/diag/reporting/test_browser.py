"""A real browser opens the page."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from diag.reporting import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the path"),
]

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def browse(path: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [CHROMIUM or "", *QUIET, f"--user-data-dir={profile}", *flags, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture
def page(log, diagnosis, tmp_path) -> Path:
    return write_report(log, tmp_path / "report.html", diagnosis)


@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_without_a_word_on_the_console(page, tmp_path, width):
    shown = browse(
        page, tmp_path / "profile", "--enable-logging=stderr", f"--window-size={width},2000", "--dump-dom"
    )
    assert "CONSOLE" not in shown.stderr
    assert shown.stdout.count("<figure") == 9


def test_a_phone_never_scrolls_sideways(page, tmp_path):
    # The page itself runs no script, so a copy measures for it.
    html = page.read_text()
    html = re.sub(r"<meta http-equiv[^>]*>", "", html)
    measure = (
        "document.title = document.documentElement.scrollWidth + ' ' + document.documentElement.clientWidth"
    )
    copy = tmp_path / "copy.html"
    copy.write_text(html.replace("</body>", f"<script>{measure}</script></body>"))
    shown = browse(copy, tmp_path / "profile", "--window-size=390,2000", "--dump-dom")
    title = re.search(r"<title>(\d+) (\d+)</title>", shown.stdout)
    assert title is not None
    assert int(title[1]) <= int(title[2])
