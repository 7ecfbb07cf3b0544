"""The samples of a run, and the settings it refuses."""

from typing import Any

import pytest

from evalkit.errors import UsageError
from model_adapters.scripted import ScriptedTokenizer
from suites.ruler import TASKS, RulerSettings, build
from suites.ruler.suite import VERSION
from suites.ruler.tasks import generation_tokens
from tests.suites.ruler import small_corpora
from tests.suites.ruler.tokenizers_for_tests import CharacterTokenizer


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        ({"ctx": (4096, 511)}, r"--ctx 511 is too short .* 512"),
        ({"ctx": ()}, "no context length"),
        ({"tasks": ("niah_singel_1",)}, "unknown task 'niah_singel_1'; did you mean 'niah_single_1'"),
        ({"dialect": "nvidea"}, "unknown dialect 'nvidea'; did you mean 'nvidia'"),
        ({"samples": 0}, "--samples 0: at least 1"),
        ({"data": small_corpora.__file__}, "is not a folder"),
    ],
)
def test_bad_settings_are_refused_in_one_line(passed: dict[str, Any], message: str) -> None:
    from pathlib import Path

    settings = {"ctx": (4096,), "samples": 1, **passed}
    if "data" in settings:
        settings["data"] = Path(settings["data"])
    with pytest.raises(UsageError, match=message) as raised:
        RulerSettings.of(**settings)
    assert "\n" not in str(raised.value)


def test_settings_are_completed() -> None:
    settings = RulerSettings.of(ctx=(8192, 4096, 8192), samples=2)
    assert settings.ctxs == (4096, 8192)
    assert settings.tasks == TASKS
    assert (settings.seed, settings.dialect, settings.data) == (42, "nvidia", None)


def test_a_plan_holds_every_sample_once_by_length_and_task() -> None:
    plan = small_corpora.suite(ScriptedTokenizer(), ctxs=(4096, 1024), tasks=("vt", "fwe"), samples=2).plan()
    assert [key.id for key in plan.keys] == [
        f"{task}/{ctx}/{index}/42" for ctx in (1024, 4096) for task in ("vt", "fwe") for index in (0, 1)
    ]
    assert plan.unscored == ()


def test_only_corpora_that_are_read_are_named() -> None:
    def roles(*tasks: str) -> list[str]:
        return [use.role for use in small_corpora.suite(ScriptedTokenizer(), tasks=tasks).plan().corpora]

    assert roles("vt") == ["words"]
    assert roles("niah_single_2", "cwe") == ["essays", "words"]
    assert roles("qa_1") == ["squad", "words"]
    assert roles(*TASKS) == ["essays", "squad", "hotpotqa", "words"]


def test_a_task_that_cannot_fit_is_named_and_the_others_run() -> None:
    plan = small_corpora.suite(ScriptedTokenizer(), ctxs=(512, 1024), samples=1).plan()
    assert [(cell.task, cell.ctx) for cell in plan.unscored] == [("vt", 512), ("cwe", 512)]
    assert all("smallest prompt" in cell.reason for cell in plan.unscored)
    assert len(plan.keys) == 2 * len(TASKS) - 2


def test_a_task_that_cannot_fit_is_refused_when_it_is_alone() -> None:
    suite = small_corpora.suite(ScriptedTokenizer(), ctxs=(512,), tasks=("cwe",), samples=3)
    with pytest.raises(UsageError, match=r"cwe does not fit --ctx 512: .*use a longer one"):
        suite.plan()


def test_under_a_tokenizer_of_characters_less_fits() -> None:
    plan = small_corpora.suite(CharacterTokenizer(), ctxs=(1024,)).plan()
    assert {"cwe", "vt"} <= {cell.task for cell in plan.unscored}


@pytest.mark.parametrize(
    ("dialect", "task", "ctx", "tokens"),
    [
        ("nvidia", "niah_single_1", 4096, 128),
        ("nvidia", "niah_multivalue", 65536, 128),
        ("nvidia", "vt", 4096, 30),
        ("nvidia", "cwe", 4096, 120),
        ("nvidia", "fwe", 4096, 50),
        ("nvidia", "qa_1", 4096, 32),
        ("nvidia", "qa_2", 4096, 32),
        ("olmes", "niah_single_1", 4096, 50),
        ("olmes", "niah_multikey_3", 4096, 100),
        ("olmes", "niah_multiquery", 4096, 100),
        ("olmes", "niah_multivalue", 4096, 300),
        ("olmes", "niah_multivalue", 8192, 250),
        ("olmes", "vt", 4096, 50),
        ("olmes", "cwe", 4096, 100),
        ("olmes", "qa_2", 4096, 50),
    ],
)
def test_budgets_are_those_of_the_dialect(dialect: Any, task: str, ctx: int, tokens: int) -> None:
    assert generation_tokens(dialect, task, ctx) == tokens
    key = small_corpora.suite(ScriptedTokenizer(), ctxs=(ctx,), tasks=(task,), dialect=dialect).plan().keys[0]
    if ctx == 4096:
        assert small_corpora.suite(ScriptedTokenizer(), dialect=dialect).ask(key).sample.generation_tokens == tokens


def test_a_suite_says_what_it_is() -> None:
    suite = build(RulerSettings.of(ctx=(4096,), samples=1, dialect="olmes"), ScriptedTokenizer(), small_corpora.CORPORA)
    assert (suite.name, suite.version, suite.dialect) == ("ruler", VERSION, "olmes")
