"""One HTML page that needs nothing else: its tables, its figures, its style (page.css). Knows no demo."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from agent.demo.charts import element

STYLE = "page.css"


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    style = resources.files("agent.demo").joinpath(STYLE).read_text(encoding="utf-8")
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            element("title", escape(title)),
            element("style", style),
            "</head><body>",
            element("main", *body),
            "</body></html>\n",
        )
    )


def title(text: str) -> str:
    return element("h1", escape(text))


def heading(text: str) -> str:
    return element("h2", escape(text))


def paragraph(text: str, kind: str = "") -> str:
    return element("p", escape(text), **({"class_": kind} if kind else {}))


def figure(chart: str, numbers: str = "", beside: str = "") -> str:
    """A chart with what explains it, and its numbers to unfold beneath."""
    table_ = element("details", element("summary", "The numbers"), numbers) if numbers else ""
    return element("figure", chart, beside, table_)


def numbered(items: Iterable[tuple[str, str]]) -> str:
    """What numbered marks mean: a word, and a sentence."""
    rows = [element("li", element("b", escape(word)), f" {escape(sentence)}") for word, sentence in items]
    return element("ol", *rows) if rows else ""


def tiles(items: Iterable[tuple[str, str]]) -> str:
    """Figures with what they are."""
    return element(
        "div",
        *(element("div", element("b", escape(n)), element("span", escape(what)), class_="tile") for n, what in items),
        class_="tiles",
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "stack") -> str:
    """Rows under headings; on a phone a row of kind `stack` becomes a block. Cells are plain text."""
    head = element("tr", *(element("th", escape(column), scope="col") for column in columns))
    body = [element("tr", *map(_cell, columns, row)) for row in rows]
    return element("div", element("table", element("thead", head), element("tbody", *body), class_=kind), class_="wide")


def code(text: str) -> str:
    """Lines for a terminal."""
    return element("pre", element("code", escape(text)))


def _cell(column: str, text: str) -> str:
    if column == "ruling":
        return element("td", element("span", escape(text), class_=f"ruling {escape(text)}"))
    return element("td", escape(text), data_name=column)
