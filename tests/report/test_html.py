import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.figures import qoe_against_load, ttft_distribution
from andes_engine.report.html import ReportFigure, write_report
from andes_engine.report.provenance import provenance
from andes_engine.report.tables import compare, comparison_grid
from andes_engine.report.timelines import token_timelines
from tests.browser import QUIET

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about, and complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def tables(busy, live):
    difference = Difference("andes", "fcfs", "qoe_mean", 0.21, 0.12, 0.31, 0.7, 2)
    comparison = compare({"simulator": busy, "live vLLM": live})
    return [comparison_grid(comparison, "At 6 requests/s"), difference_grid([difference], "Paired")]


@pytest.fixture(scope="module")
def page(tmp_path_factory, runs_by_load, busy, tables) -> Path:
    figures = [
        ReportFigure(qoe_against_load(runs_by_load), "QoE against load", "Bands span the runs."),
        ReportFigure(ttft_distribution(busy), "Time to first token", "Runs pooled."),
        ReportFigure(token_timelines(busy[:2], [0, 1]), 'Two "typical" requests', "Token by token."),
    ]
    records = [run for runs in runs_by_load.values() for run in runs]
    origin = provenance(records, {"engine.kv_blocks": 300, "note": "<b>not bold</b>"})
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    return write_report(path, "Andes & FCFS", ["Andes wins.", "A second thing."], tables, figures, origin)


def test_page_needs_nothing_else(page):
    found = Page(page.read_text(encoding="utf-8"))
    assert found.links
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert "script" not in found.tags
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", page.read_text(encoding="utf-8"))


def test_page_is_well_formed(page):
    found = Page(page.read_text(encoding="utf-8"))
    assert found.open == []
    assert len(found.ids) == len(set(found.ids)), "ids of different figures collide"
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)


def test_page_shows_every_number_of_the_tables(page, tables):
    text = page.read_text(encoding="utf-8")
    for table in tables:
        assert table.title in text
        for part in (part for row in table.rows for cell in row for part in cell if part):
            assert f">{part}<" in text


def test_page_opens_with_the_result_and_ends_with_the_origin(page, busy):
    text = page.read_text(encoding="utf-8")
    places = [text.index(part) for part in ("<h1>Andes &amp; FCFS", "Andes wins.", "<table", "<svg", "kv_blocks")]
    assert places == sorted(places)
    assert busy[0].workload.fingerprint in text
    assert "numpy" in text


def test_page_holds_the_figures_with_captions(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == text.count("<figcaption>") == text.count('role="img"') == 3
    assert "Bands span the runs." in text


def test_page_escapes_what_it_is_given(page):
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;not bold" in text
    assert "<b>not bold" not in text
    assert 'aria-label="Two &#34;typical&#34; requests"' in text


def run_chromium(chromium: str, page: Path, *options: str) -> str:
    profile = f"--user-data-dir={page.parent / 'profile'}"
    words = [chromium, *QUIET, profile, *options, page.resolve().as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return done.stderr if "--dump-dom" not in options else done.stdout + done.stderr


def test_chromium_shows_the_page_without_a_complaint(chromium, page, tmp_path):
    shot = tmp_path / "page.png"
    log = run_chromium(chromium, page, "--window-size=1280,2400", f"--screenshot={shot}")
    assert not [line for line in log.splitlines() if "CONSOLE" in line]
    assert shot.stat().st_size > 50_000, "an empty page would compress to less"


def test_chromium_would_complain_about_an_outside_resource(chromium, page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(
        page.read_text(encoding="utf-8").replace("</main>", '<img src="https://example.invalid/x.png"></main>')
    )
    assert "CONSOLE" in run_chromium(chromium, broken, f"--screenshot={tmp_path / 'broken.png'}")
