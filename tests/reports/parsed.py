"""Reports as their readers' parsers find them, to see that text from outside is only text."""

from collections.abc import Callable
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

# CommonMark with GitHub's tables and strike-through, raw HTML allowed, as GitHub's parser has it before it sanitises.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def blocks(tokens: list[Token]) -> list[str]:
    return [token.type for token in tokens if token.type != "inline" and not token.hidden]


def inline_texts(tokens: list[Token]) -> list[str]:
    """The text of each block, empty comments left out; fails on any other markup within a line."""
    texts = []
    for token in tokens:
        if token.type != "inline":
            continue
        pieces = []
        for child in token.children or []:
            assert child.type in ("text", "text_special") or child.content == "<!-- -->", (child, token.content)
            pieces.append("" if child.type == "html_inline" else child.content)
        texts.append("".join(pieces))
    return texts


def check_markdown(render: Callable[[str], str], text: str) -> None:
    """The document that `render` makes of a text has the blocks of one of harmless text, and no markup within lines."""
    document = render(text)
    tokens = PARSER.parse(document)
    assert blocks(tokens) == blocks(PARSER.parse(render("harmless")))
    inline_texts(tokens)
    document.encode()


class Tags(HTMLParser):
    """The tags of a page, without the classes that depend on what cells hold, and the text between them."""

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
