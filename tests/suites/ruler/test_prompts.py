"""Prompts have the paper's form, word by word."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from evalkit.records import Sample, SampleKey
from evalkit.running.protocols import Tokenizer
from model_adapters import reference
from model_adapters.scripted import ScriptedTokenizer
from model_adapters.tokenizer import HfTokenizer
from suites.ruler import TASKS, RulerSuite
from suites.ruler.tasks import NEEDLE_TASKS
from suites.ruler.words import every_word, word_lists
from tests.suites.ruler import golden, small_corpora
from tests.suites.ruler.tokenizers_for_tests import CharacterTokenizer

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = re.compile(r"One of the special magic (numbers|uuids) for ([\w -]+?) is: ([\w-]+)\.")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SUITE = small_corpora.suite(ScriptedTokenizer())


def sample(task: str, ctx: int = 4096, index: int = 0) -> Sample:
    return SUITE.ask(SampleKey(task, ctx, index, 42)).sample


def context_of(prompt: str) -> str:
    """The text between the first line and the question."""
    return prompt.partition("\n")[2].rpartition("\n")[0]


@pytest.mark.parametrize("task", TASKS)
def test_whole_prompts_are_as_they_were(task: str) -> None:
    expected = (golden.GOLDEN / "prompts" / f"{task}.txt").read_text(encoding="utf-8")
    assert golden.whole_prompt(task) == expected


@pytest.mark.parametrize("task", [task for task, needle in NEEDLE_TASKS.items() if needle.queries * needle.values == 1])
def test_a_single_needle_is_requested_in_the_singular(task: str) -> None:
    asked = sample(task)
    kind = "uuid" if NEEDLE_TASKS[task].value_kind == "uuids" else "number"
    (key,) = [key for _, key, value in NEEDLE.findall(asked.prompt) if value == asked.targets[0]]
    assert asked.prompt.startswith(
        f"A special magic {kind} is hidden within the following text. Make sure to memorize it. "
        f"I will quiz you about the {kind} afterwards.\n"
    )
    assert asked.prompt.endswith(
        f"\nWhat is the special magic {kind} for {key} mentioned in the provided text?"
        f" The special magic {kind} for {key} mentioned in the provided text is"
    )
    assert asked.answer_prefix == f" The special magic {kind} for {key} mentioned in the provided text is"


@pytest.mark.parametrize("task", ["niah_multivalue", "niah_multiquery"])
def test_several_needles_are_requested_in_the_plural(task: str) -> None:
    asked = sample(task)
    keys = [next(key for _, key, value in NEEDLE.findall(asked.prompt) if value == target) for target in asked.targets]
    query = keys[0] if task == "niah_multivalue" else f"{keys[0]}, {keys[1]}, {keys[2]}, and {keys[3]}"
    assert len(set(keys)) == (1 if task == "niah_multivalue" else 4)
    assert asked.prompt.startswith("Some special magic numbers are hidden within the following text. ")
    assert asked.prompt.endswith(
        f"\nWhat are all the special magic numbers for {query} mentioned in the provided text?"
        f" The special magic numbers for {query} mentioned in the provided text are"
    )


@pytest.mark.parametrize(("task", "count"), [(task, t.keys * t.values) for task, t in NEEDLE_TASKS.items()])
def test_needles_hold_what_their_task_says(task: str, count: int) -> None:
    asked = sample(task)
    needles = NEEDLE.findall(asked.prompt)
    kind = NEEDLE_TASKS[task].value_kind
    assert len(needles) == count or NEEDLE_TASKS[task].haystack == "needles"
    assert {found for found, _, _ in needles} == {kind}
    values = [value for _, _, value in needles]
    shape = UUID if kind == "uuids" else re.compile(r"[1-9]\d{6}")
    assert all(shape.fullmatch(value) for value in values)
    assert len(set(values)) == len(values)
    assert set(values) == {*asked.targets, *asked.distractors}
    assert not set(asked.targets) & set(asked.distractors)
    if NEEDLE_TASKS[task].key_kind == "uuids":
        assert all(UUID.fullmatch(key) for _, key, _ in needles)
    else:
        nouns, adjectives = set(word_lists().nouns), set(word_lists().adjectives)
        for _, key, _ in needles:
            parts = key.split("-")
            splits = [("-".join(parts[:at]), "-".join(parts[at:])) for at in range(1, len(parts))]
            assert any(adjective in adjectives and noun in nouns for adjective, noun in splits)


@pytest.mark.parametrize("task", [task for task, needle in NEEDLE_TASKS.items() if needle.haystack == "essays"])
@pytest.mark.parametrize("index", range(4))
def test_essay_needles_stand_between_sentences(task: str, index: int) -> None:
    asked = sample(task, 1024, index)
    context = context_of(asked.prompt)
    assert "\n" not in context
    assert "  " not in context
    assert context == context.strip()
    without = NEEDLE.sub("\0", context)
    for before, after in zip(without.split("\0"), without.split("\0")[1:], strict=False):
        assert before == "" or re.search(r"[.] $", before) or after == ""
        assert after == "" or after.startswith(" ")
    prose = " ".join(" ".join(without.split("\0")).split())
    twice = " ".join((*small_corpora.sentences(), *small_corpora.sentences()))
    assert prose in twice


@pytest.mark.parametrize("index", range(6))
def test_essays_begin_at_another_sentence_in_each_sample(index: int) -> None:
    starts = {context_of(sample("niah_single_2", 512, place).prompt)[:120] for place in (index, index + 1, index + 2)}
    assert len(starts) == 3


def test_depths_are_drawn_from_forty_points_without_replacement() -> None:
    grid = {0, 3, 5, 8, 10, 13, 15, 18, 21, 23, 26, 28, 31, 33, 36, 38, 41, 44, 46, 49}
    grid |= {100 - depth for depth in grid}
    seen: Counter[int] = Counter()
    for index in range(120):
        depths = [round(100 * depth) for depth in sample("niah_multivalue", 512, index).depths]
        assert len(set(depths)) == 4
        seen.update(depths)
    assert set(seen) == grid
    assert len(grid) == 40


@pytest.mark.parametrize("task", ["niah_single_2", "niah_multikey_1", "niah_multiquery"])
def test_gold_positions_count_the_sentences_before_a_needle(task: str) -> None:
    asked = sample(task)
    context = context_of(asked.prompt)
    units = re.split(r"(?<=[.]) (?=[A-Z])", context)
    assert tuple(units.index(next(u for u in units if target in u)) for target in asked.targets) == asked.gold_positions
    haystack = len(units) - len(NEEDLE.findall(context))
    for depth, place in zip(asked.depths, asked.gold_positions, strict=False):
        others = sum(bool(NEEDLE.fullmatch(unit)) for unit in units[:place])
        assert place - others == int(haystack * depth)


def test_noise_and_needle_haystacks_have_a_line_each() -> None:
    noise = context_of(sample("niah_single_1").prompt).split("\n")
    assert len(noise) - 1 == noise.count(NOISE)
    (place,) = (place for place, line in enumerate(noise) if line != NOISE)
    assert NEEDLE.fullmatch(noise[place])
    assert (place,) == sample("niah_single_1").gold_positions
    for task in ("niah_multikey_2", "niah_multikey_3"):
        lines = context_of(sample(task).prompt).split("\n")
        assert all(NEEDLE.fullmatch(line) for line in lines)
        assert sample(task).targets[0] in lines[sample(task).gold_positions[0]]


def test_a_chain_of_variables_is_hidden_in_noise_after_a_worked_example() -> None:
    asked = sample("vt")
    head = "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
    assert asked.prompt.startswith(head)
    example, blank, question = asked.prompt.partition("\n\n" + head)
    assert blank
    value = re.findall(r"VAR [A-Z]{5} = (\d{5})\n", question)[0]
    assert asked.answer_prefix == (
        " Answer: According to the chain(s) of variable assignment in the text above, "
        f"5 variables are assigned the value {value}, they are: "
    )
    assert asked.prompt.endswith(
        f"\nQuestion: Find all variables that are assigned the value {value} in the text above.{asked.answer_prefix}"
    )
    lines = question.split("\nQuestion: ")[0].split("\n")
    chain = [line for line in lines if line != NOISE]
    names = asked.targets
    assert chain[0] == f"VAR {names[0]} = {value}"
    assert chain[1:] == [f"VAR {name} = VAR {source} " for source, name in pairwise(names)]
    assert tuple(lines.index(line) for line in chain) == asked.gold_positions
    assert all(later - earlier > 1 for earlier, later in pairwise(asked.gold_positions)), "noise is between any two"
    assert lines[-1] == NOISE
    assert re.search(r"they are:  [A-Z]{3}(?: [A-Z]{3}){4}$", example)
    assert example.split("they are:  ")[1].split() == list(asked.distractors)
    shown = example.removeprefix(head).split("\nQuestion: ")[0].split("\n")
    hidden = [place for place, line in enumerate(shown) if line != NOISE]
    value, *copies = (shown[place] for place in hidden)
    names = asked.distractors
    assert re.fullmatch(rf"VAR {names[0]} = \d{{5}}", value)
    assert copies == [f"VAR {name} = VAR {source} " for source, name in pairwise(names)]
    assert all(later - earlier > 1 for earlier, later in pairwise(hidden)), "noise is between any two"
    assert shown[-1] == NOISE


def worked_example(suite: RulerSuite, ctx: int, index: int) -> tuple[str, int]:
    """vt's worked example without its answer, and its noise lines."""
    prompt = suite.ask(SampleKey("vt", ctx, index, 42)).sample.prompt
    example = prompt.partition("they are: ")
    return example[0] + example[1], example[0].count(NOISE)


def check_worked_examples(tokenizer: Tokenizer, lines: set[int]) -> None:
    """Each has at most 500 tokens, and one more line would exceed them, whatever the context."""
    suite = small_corpora.suite(tokenizer, ctxs=(1024, 4096))
    found = [worked_example(suite, ctx, index) for ctx in (1024, 4096) for index in range(8)]
    assert {count for _, count in found} == lines
    for example, _ in found:
        assert len(tokenizer.encode(example)) <= 500
        assert len(tokenizer.encode(example.replace(NOISE, f"{NOISE}\n{NOISE}", 1))) > 500
    places = {tuple(i for i, line in enumerate(example.split("\n")) if line.startswith("VAR")) for example, _ in found}
    assert len(places) == len(found), "the chain's places are drawn anew for each sample"


def test_the_worked_example_of_variable_tracking_takes_500_tokens() -> None:
    check_worked_examples(ScriptedTokenizer(), {15})
    check_worked_examples(HfTokenizer.from_file(reference.folder("hybrid") / "tokenizer.json"), {14})


@pytest.mark.shared_data
@pytest.mark.parametrize(("definition", "lines"), [("allenai_dolma2", {16}), ("gpt2", {15})])
def test_the_worked_example_under_real_tokenizers(shared_data: Path, definition: str, lines: set[int]) -> None:
    """RULER's own generator finds 16 for dolma2."""
    check_worked_examples(HfTokenizer.from_file(shared_data / "tokenizers" / f"{definition}.tokenizer.json"), lines)


def test_the_worked_example_has_five_lines_at_least() -> None:
    tokenizer = CharacterTokenizer()
    suite = small_corpora.suite(tokenizer, ctxs=(4096,))
    example, count = worked_example(suite, 4096, 0)
    assert count == 5
    assert len(tokenizer.encode(example)) > 500


def test_common_words_come_thirty_times_and_the_others_three() -> None:
    asked = sample("cwe")
    head = (
        "Below is a numbered list of words. In these words, some appear more often than others. "
        "Memorize the ones that appear most often.\n"
    )
    tail = "\nQuestion: What are the 10 most common words in the above list?"
    prefix = " Answer: The top 10 words that appear most often in the list are:"
    match = re.fullmatch(
        re.escape(head)
        + "(.*)"
        + re.escape(tail + prefix)
        + " (.*)\n"
        + re.escape(head)
        + "(.*)"
        + re.escape(tail + prefix),
        asked.prompt,
    )
    assert match is not None
    example, answer, listed = (re.findall(r"(\d+)\. (.+?)(?= \d+\. |$)", part) for part in match.groups())
    for items in (example, answer, listed):
        assert [int(number) for number, _ in items] == list(range(1, len(items) + 1))
        assert {word for _, word in items} <= set(every_word())
    shown = Counter(word for _, word in example)
    assert Counter(shown.values()) == {10: 10, 3: 30}
    assert {word for _, word in answer} == {word for word, count in shown.items() if count == 10}
    counts = Counter(word for _, word in listed)
    assert {word for word, count in counts.items() if count == 30} == set(asked.targets)
    assert set(counts.values()) == {30, 3}
    assert len(asked.targets) == 10


def test_common_words_are_shortened_below_the_published_lengths() -> None:
    asked = sample("cwe", 1024)
    example, listed = (
        Counter(re.findall(r"\d+\. (.+?)(?= \d+\. |\n)", part)) for part in asked.prompt.split(" Answer: The top")[:2]
    )
    assert Counter(example.values()) == {3: 10, 1: 10}
    assert Counter(count for word, count in listed.items() if word in asked.targets) == {6: 10}


@pytest.mark.parametrize("ctx", [512, 1024, 4096, 8192])
def test_coded_words_follow_zipf(ctx: int) -> None:
    asked = sample("fwe", ctx)
    match = re.fullmatch(
        r"Read the following coded text and track the frequency of each coded word\. "
        r"Find the three most frequently appeared coded words\. (.*)\n"
        r"Question: Do not provide any explanation\. Please ignore the dots '\.\.\.\.'\. "
        r"What are the three most frequently appeared words in the above coded text\? "
        r"Answer: According to the coded text above, the three most frequently appeared words are:",
        asked.prompt,
    )
    assert match is not None
    counts = Counter(match[1].split(" "))
    ranked = counts.most_common()
    assert ranked[0][0] == "..."
    assert tuple(word for word, _ in ranked[1:4]) == asked.targets
    assert all(re.fullmatch("[a-z]{6}", word) for word in counts if word != "...")
    assert len(counts) <= ctx // 50
    if len(ranked) > 4:
        assert ranked[3][1] > ranked[4][1]
    assert ranked[0][1] == pytest.approx(4 * ranked[1][1], abs=4)
    assert ranked[0][1] == pytest.approx(9 * ranked[2][1], abs=9)


@pytest.mark.parametrize("task", ["qa_1", "qa_2"])
@pytest.mark.parametrize("index", range(3))
def test_questions_stand_over_numbered_documents(task: str, index: int) -> None:
    corpus = small_corpora.squad() if task == "qa_1" else small_corpora.hotpotqa()
    asked = sample(task, 2048, index)
    instruction = (
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
    )
    match = re.fullmatch(
        re.escape(f"{instruction}\n\nThe following are given documents.\n\n")
        + "(.*)"
        + re.escape(f"\n\n{instruction}\n\nQuestion: ")
        + "(.*)"
        + re.escape(" Answer:"),
        asked.prompt,
        re.DOTALL,
    )
    assert match is not None
    documents = re.split(r"(?:^|\n\n)Document (\d+):\n", match[1])[1:]
    texts = documents[1::2]
    assert [int(number) for number in documents[::2]] == list(range(1, len(texts) + 1))
    assert len(set(texts)) == len(texts)
    assert set(texts) <= set(corpus.documents)
    (question,) = (question for question in corpus.questions if question.question == match[2])
    assert asked.targets == question.answers
    assert [texts[place] for place in asked.gold_positions] == [corpus.documents[gold] for gold in question.gold]
    # Related documents come first: the same article, or the question's own documents.
    assert {corpus.documents[document] for document in question.related} <= set(texts)


def test_gold_documents_stand_anywhere() -> None:
    places = [sample("qa_1", 1024, index).gold_positions[0] for index in range(24)]
    assert len(set(places)) > 5


def test_no_question_is_asked_twice_before_all_were_asked() -> None:
    asked = [sample("qa_2", 512, index).prompt.rpartition("Question: ")[2] for index in range(64)]
    assert len(set(asked)) == 64


def test_olmes_puts_the_prefix_on_a_line_of_its_own() -> None:
    suite = small_corpora.suite(ScriptedTokenizer(), dialect="olmes")
    for task in TASKS:
        asked = suite.ask(SampleKey(task, 4096, 0, 42)).sample
        assert asked.answer_prefix.startswith("\n")
        assert asked.answer_prefix.strip() == asked.answer_prefix[1:]
        assert asked.prompt.endswith(asked.answer_prefix)
        assert asked.answer_prefix[1:] == sample(task).answer_prefix.strip()
