"""Parse reports as their readers do, to check that foreign text is only text."""

from collections.abc import Callable
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

# CommonMark with GitHub's tables and strike-through and with raw HTML, like GitHub's parser before it sanitizes.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def blocks(tokens: list[Token]) -> list[str]:
    return [token.type for token in tokens if token.type != "inline" and not token.hidden]


def inline_texts(tokens: list[Token]) -> list[str]:
    """The text of each block, words in code included; fails on any other markup within a line."""
    texts = []
    for token in tokens:
        if token.type != "inline":
            continue
        pieces = []
        for child in token.children or []:
            assert child.type in ("text", "text_special", "code_inline"), (child, token.content)
            pieces.append(child.content)
        texts.append("".join(pieces))
    return texts


def check_markdown(render: Callable[[str], str], text: str) -> None:
    """Check that `render` gives the same blocks for a text as for a harmless one, without markup within lines."""
    document = render(text)
    tokens = PARSER.parse(document)
    assert blocks(tokens) == blocks(PARSER.parse(render("harmless")))
    inline_texts(tokens)
    document.encode()


class Tags(HTMLParser):
    """The tags of a page, without classes that depend on the contents of cells, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attribute for attribute in attrs if attribute[0] != "class")))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
