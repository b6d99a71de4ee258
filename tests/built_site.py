"""Check the pages of a built site for dead links and for anything loaded from another host.

`python -m tests.built_site FOLDER`. The generator validates links between pages. It misses images, folders
and files that are not pages, and it does not know what the theme loads. This reads what a browser gets.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "img": "src", "link": "href", "script": "src", "iframe": "src", "source": "src"}
LOADED = {"img", "link", "script", "iframe", "source"}
NOT_FOUND_PAGE = "404.html"  # served under any path, so its links are absolute


@dataclass(slots=True)
class Page:
    """What one page links to, and the anchors it has."""

    links: list[tuple[str, str]] = field(default_factory=list)  # tag, target
    anchors: set[str] = field(default_factory=set)


class PageReader(HTMLParser):
    """Collects the links and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if target := found.get(LINKS.get(tag, "")):
            self.page.links.append((tag, target))
        self.page.anchors.update(name for name in (found.get("id"), found.get("name")) if name)


def problems(folder: Path) -> list[str]:
    """Every dead link of the site, and every script, style, image or frame from another host."""
    pages = {path.resolve(): read(path) for path in sorted(folder.rglob("*.html"))}
    return [
        f"{path.relative_to(folder.resolve())}: {problem}"
        for path, page in pages.items()
        if path.name != NOT_FOUND_PAGE
        for tag, target in page.links
        if (problem := problem_of(path, tag, target, pages))
    ]


def read(path: Path) -> Page:
    reader = PageReader()
    reader.feed(path.read_text("utf-8"))
    return reader.page


def problem_of(path: Path, tag: str, target: str, pages: dict[Path, Page]) -> str | None:
    """What is wrong with one link, if anything."""
    url = urlsplit(target)
    if url.scheme in ("mailto", "data"):
        return None
    if url.scheme or url.netloc:
        return f"<{tag}> loads {target} from another host" if tag in LOADED else None
    found = (path.parent / unquote(url.path)).resolve() if url.path else path
    if found.is_dir():
        found /= "index.html"
    if not found.exists():
        return f"{target} does not exist"
    if url.fragment and found in pages and unquote(url.fragment) not in pages[found].anchors:
        return f"{target}: the page has no such anchor"
    return None


def main() -> int:
    folder = Path(sys.argv[1])
    found = problems(folder)
    n_pages = len(list(folder.rglob("*.html")))
    found.append(f"{folder}: {n_pages} pages, {len(found)} problems")
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 0 if n_pages and len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
