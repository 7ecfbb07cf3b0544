"""Documents and questions from SQuAD's and HotpotQA's published JSON."""

from typing import Any, NoReturn

from evalkit.errors import UsageError
from evalkit.records.codec import RecordError, parse_json
from evalkit.surrogates import half_surrogate
from suites.corpora.records import Question

Parsed = tuple[tuple[str, ...], tuple[Question, ...]]


def parse_squad(data: bytes, shown: str) -> Parsed:
    """SQuAD v2 (arXiv 1806.03822): paragraphs as documents, answerable questions in file order.

    `answer_start` and `plausible_answers` are not needed. Raises UsageError with the file and the place in it.
    """
    check = _Check(shown, "SQuAD v2 JSON", "use dev-v2.0.json as published")
    articles = check.list_at(check.load(data, dict), "data", "the file")
    places: dict[str, int] = {}
    questions: list[Question] = []
    for a, article in enumerate(articles):
        paragraphs = check.list_at(check.record(article, f"data[{a}]"), "paragraphs", f"data[{a}]")
        where = [f"data[{a}].paragraphs[{p}]" for p in range(len(paragraphs))]
        contexts = [check.text_at(check.record(p, w), "context", w) for p, w in zip(paragraphs, where, strict=True)]
        indices = [places.setdefault(context, len(places)) for context in contexts]
        for paragraph, index, at in zip(paragraphs, indices, where, strict=True):
            related = tuple(dict.fromkeys(other for other in indices if other != index))
            for q, entry in enumerate(check.list_at(paragraph, "qas", at)):
                asked = _squad_question(check, entry, f"{at}.qas[{q}]")
                if asked is not None:
                    questions.append(Question(*asked, (index,), related))
    if not questions:
        check.fail("it has no answerable question")
    return tuple(places), tuple(questions)


def _squad_question(check: "_Check", entry: Any, at: str) -> tuple[str, tuple[str, ...]] | None:
    entry = check.record(entry, at)
    question = check.text_at(entry, "question", at)
    if entry.get("is_impossible", False):
        return None
    answers = check.list_at(entry, "answers", at)
    texts = [check.text_at(check.record(answer, f"{at}.answers"), "text", f"{at}.answers") for answer in answers]
    if not texts:
        check.fail(f"{at} is marked answerable and has no answer")
    return question, tuple(dict.fromkeys(texts))


def parse_hotpotqa(data: bytes, shown: str) -> Parsed:
    """HotpotQA (arXiv 1809.09600): `title`, newline, text as documents; the supporting ones are gold.

    Raises UsageError with the file and the place in it.
    """
    check = _Check(shown, "HotpotQA JSON", "use hotpot_dev_distractor_v1.json as published")
    places: dict[str, int] = {}
    questions: list[Question] = []
    for number, entry in enumerate(check.load(data, list)):
        at = f"[{number}]"
        entry = check.record(entry, at)
        titled = [_hotpot_document(check, item, at) for item in check.list_at(entry, "context", at)]
        indices = {index: title for title, text in titled for index in [places.setdefault(text, len(places))]}
        supporting = {
            check.pair(fact, f"{at}.supporting_facts")[0] for fact in check.list_at(entry, "supporting_facts", at)
        }
        gold = tuple(index for index, title in indices.items() if title in supporting)
        if not gold:
            check.fail(f"{at} has none of its supporting documents in `context`")
        related = tuple(index for index in indices if index not in gold)
        question, answer = check.text_at(entry, "question", at), check.text_at(entry, "answer", at)
        questions.append(Question(question, (answer,), gold, related))
    if not questions:
        check.fail("it has no question")
    return tuple(places), tuple(questions)


def _hotpot_document(check: "_Check", value: Any, at: str) -> tuple[str, str]:
    """Title, and the document in the form of the prompt."""
    title, sentences = check.pair(value, f"{at}.context")
    if not isinstance(title, str) or not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
        check.fail(f"{at}.context holds {_short(value)} instead of [title, [sentence, …]]")
    return title, check.whole(f"{title}\n{''.join(sentences)}", f"{at}.context")


class _Check:
    """Reads values of a JSON tree; a value of another form raises UsageError with the file and the place in it."""

    def __init__(self, shown: str, expected: str, remedy: str) -> None:
        self._shown = shown
        self._expected = expected
        self._remedy = remedy

    def fail(self, what: str) -> NoReturn:
        raise UsageError(f"{self._shown}: not {self._expected}: {what}; {self._remedy}, or remove the file")

    def load(self, data: bytes, kind: type) -> Any:
        try:
            tree = parse_json(data, finite=False)
        except RecordError as error:
            self.fail(str(error).removeprefix("not JSON: "))
        if not isinstance(tree, kind):
            self.fail(f"it holds {_short(tree)} instead of {'an object' if kind is dict else 'a list'}")
        return tree

    def record(self, value: Any, at: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(f"{at} is {_short(value)} instead of an object")
        return value

    def list_at(self, tree: dict[str, Any], key: str, at: str) -> list[Any]:
        value = tree.get(key)
        if not isinstance(value, list):
            self.fail(f"{at} has no list `{key}`")
        return value

    def text_at(self, tree: dict[str, Any], key: str, at: str) -> str:
        value = tree.get(key)
        if not isinstance(value, str) or not value.strip():
            self.fail(f"{at} has no text `{key}`")
        return self.whole(value, f"{at}.{key}")

    def whole(self, text: str, at: str) -> str:
        if (position := half_surrogate(text)) is not None:
            self.fail(f"{at} has half a surrogate pair at character {position:,}")
        return text

    def pair(self, value: Any, at: str) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            self.fail(f"{at} holds {_short(value)} instead of a pair")
        return value[0], value[1]


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
