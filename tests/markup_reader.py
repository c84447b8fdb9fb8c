"""Reads what a page writes as HTML: its tables and its cards."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import pandas as pd


@dataclass
class Card:
    """A figure of the report card."""

    label: str
    help: str = ""
    value: str = ""
    below: str = ""


@dataclass
class _Reader(HTMLParser):
    tables: list = field(default_factory=list)
    cards: list = field(default_factory=list)
    texts: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._open, self._card_ends = [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "br":
            self.handle_data(" ")
            return
        if tag == "table":
            assert attributes["aria-label"]
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            assert tag == "td" or attributes["scope"] in ("col", "row")
            self.tables[-1][-1].append("")
        elif tag == "div" and attributes.get("role") == "group":
            self.cards.append(Card(attributes["aria-label"]))
            self._card_ends = len(self._open)
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if len(self._open) == self._card_ends:
            self._card_ends = 0

    def handle_data(self, data):
        self.texts.append(data)
        if self._open[-1:] in (["th"], ["td"]):
            self.tables[-1][-1][-1] += data
        elif self._card_ends and self._open[-1] == "small":
            name = "help" if "details" in self._open else "below"
            setattr(self.cards[-1], name, getattr(self.cards[-1], name) + data)
        elif self._card_ends and self._open[-1] == "div":
            self.cards[-1].value += data


def read(written):
    """Return what a piece of HTML holds, all of whose elements have to be closed in their order."""
    reader = _Reader()
    reader.feed(written)
    reader.close()
    assert not reader._open
    return reader


def read_page(app):
    """Return the tables and the cards that a page has written as HTML."""
    readers = [read(element.proto.body) for element in app.get("html")]
    tables = [pd.DataFrame(rows, columns=head) for one in readers for head, *rows in one.tables]
    return tables, [card for one in readers for card in one.cards]


def read_texts(app):
    """Return all that a visitor reads in what a page has written as HTML."""
    return [text for element in app.get("html") for text in read(element.proto.body).texts]
