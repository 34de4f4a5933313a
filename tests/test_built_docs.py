"""The documentation as it was built by `python3 dev.py docs`: offline, whole, and quiet in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import pages
import pytest

import hilum

HTML = pages.DOCS / "_build" / "html"
SOURCES = (Path(hilum.__file__).with_suffix(".pyi"), pages.DOCS / "reference" / "api.rst")
LOADED = dict.fromkeys(("script", "img", "iframe", "source", "audio", "video", "embed"), "src")
LOADED |= {"link": "href", "object": "data"}
STAY = {"canonical", "next", "prev", "author", "license", "index", "search", "help"}
"""Relations of a link element that load nothing."""


def built():
    """Whether there is a build, and none older than the list of public names."""
    made = HTML / "index.html"
    return made.is_file() and made.stat().st_mtime > max(path.stat().st_mtime for path in SOURCES)


pytestmark = pytest.mark.skipif(not built(), reason="the documentation is not built, or anew: python3 dev.py docs")


class Loads(HTMLParser):
    """What a page makes a browser fetch, and where it links to."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in LOADED and not set(given.get("rel", "").split()) & STAY:
            self.fetched += [given[LOADED[tag]]] if given.get(LOADED[tag]) else []
        self.fetched += [part.split()[0] for part in (given.get("srcset") or "").split(",") if part.strip()]
        self.links += [given["href"]] if tag == "a" and given.get("href") else []


def built_pages():
    return sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts)


def away(address):
    return not address.startswith("data:") and bool(urlsplit(address).scheme or urlsplit(address).netloc)


def away_in_css(text):
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)", bare) + re.findall(r"@import\s+['\"]([^'\"]+)", bare)
    return [address for address in found if away(address)]


def test_no_page_fetches_anything_from_elsewhere():
    found = built_pages()
    assert len(found) > 60
    for path in found:
        text = path.read_text(encoding="utf-8")
        loads = Loads(text)
        assert loads.fetched, path
        assert [a for a in loads.fetched if away(a)] == [], path
        assert away_in_css("".join(re.findall(r"<style.*?</style>", text, re.DOTALL))) == [], path
    for path in HTML.rglob("*.css"):
        assert away_in_css(path.read_text(encoding="utf-8")) == [], path


def test_what_would_be_fetched_from_elsewhere_is_told():
    page = '<link rel="stylesheet" href="https://fonts.example/a.css"><script src="//cdn.example/b.js"></script>'
    page += '<img src="c.png" srcset="http://x.example/d.png 2x"><link rel="canonical" href="https://e.example">'
    assert [a for a in Loads(page).fetched if away(a)] == [
        "https://fonts.example/a.css", "//cdn.example/b.js", "http://x.example/d.png",
    ]  # fmt: skip
    assert away_in_css("@import 'https://a.example'; b { src: url( 'http://c.example/d' ) url(e) }") == [
        "http://c.example/d",
        "https://a.example",
    ]


def test_links_and_files_of_built_pages_are_there():
    for path in built_pages():
        loads = Loads(path.read_text(encoding="utf-8"))
        for address in {*loads.links, *loads.fetched}:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            assert (path.parent / unquote(parts.path)).exists(), (path.name, address)


def test_every_public_name_is_described():
    for name in sorted(set(hilum.__all__) - {"__version__", "plot"}):  # it has the page of the pictures
        text = (HTML / "_generated" / "api" / f"hilum.{name}.html").read_text(encoding="utf-8")
        article = re.search(r"<article.*?</article>", text, re.DOTALL)[0]
        assert f'id="hilum.{name}"' in article
        words = re.sub(r"<[^>]+>", " ", article).split()
        summary = (getattr(hilum, name).__doc__ or "").strip().split("\n")[0].split()
        assert len(words) > 12, name
        assert name.isupper() or " ".join(summary)[:20].split()[0] in words, name


def test_functions_that_draw_are_described():
    text = (HTML / "_generated" / "pictures.html").read_text(encoding="utf-8")
    for name in dir(hilum.plot):
        assert f'href="api/hilum.plot.{name}.html"' in text
        page = (HTML / "_generated" / "api" / f"hilum.plot.{name}.html").read_text(encoding="utf-8")
        assert "Parameters" in page
        assert "matplotlib.figure.Figure" in page


def test_every_example_has_left_its_picture():
    for folder in ("gallery", "concepts"):
        for script in (pages.DOCS / folder).glob("plot_*.py"):
            assert list((HTML / "_images").glob(f"sphx_glr_{script.stem}_0*.png")), script


def test_every_command_is_on_the_page_of_the_command_line():
    from hilum.cli import program

    text = (HTML / "_generated" / "commands.html").read_text(encoding="utf-8")
    for name in program():
        assert name.startswith("-") or f"hilum {name}" in text, name


@pytest.mark.skipif(browser.find() is None, reason="there is no Chromium on this machine")
def test_pages_are_quiet_in_a_browser():
    names = ["index.html", "zh/get-started.html", "_generated/gallery/index.html", "_generated/api/hilum.Geometry.html",
             "_generated/concepts/plot_coordinates.html", "search.html"]  # fmt: skip
    with browser.browser() as page:
        for name in names:
            page.open(HTML / name)
            assert all(address.startswith(("file:", "data:")) for address in page.requests()), name
            said = page.complaints()
            assert [c for c in said if "error" in {c.get("type"), c.get("entry", {}).get("level")}] == [], name
            assert not any("exceptionDetails" in c for c in said), name
            assert page.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), name
            language = "zh-Hans" if name.startswith("zh/") else "en"
            assert page.run("document.documentElement.lang") == language


def test_there_is_no_trace_of_this_machine():
    home = str(Path(__file__).resolve().parents[1])
    for path in [*HTML.rglob("*.html"), *HTML.rglob("*.js"), *HTML.rglob("*.ipynb")]:
        assert home not in path.read_text(encoding="utf-8"), path
