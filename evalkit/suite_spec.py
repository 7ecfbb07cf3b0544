"""A suite as one value, and the lookup of suites by name.

A package of its own adds a suite by an entry point of the group `evalkit.suites`, whose name is the suite's and whose
value is its `SuiteSpec`, such as `sums = "my_sums:SPEC"`.
"""

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, get_type_hints

from evalkit.did_you_mean import check_known, did_you_mean
from evalkit.errors import UsageError
from evalkit.records import ModelIdentity
from evalkit.records.codec import RecordError, from_dict
from evalkit.running.chat import Chat
from evalkit.running.model_options import RAW, REFERENCE_PREFIX, ChatMode, ChatOptions
from evalkit.running.protocols import Suite, Tokenizer
from evalkit.values import read_value

if TYPE_CHECKING:
    from evalkit.analysis.finished_run import StoredRun
    from evalkit.records import RunRecord, SampleRecord, SuiteSummary


class SuiteSettings(Protocol):
    """Checked settings of a suite: a frozen dataclass of values that JSON can hold."""

    @staticmethod
    def of(*args: Any, **values: Any) -> Any:
        """Settings completed by defaults; UsageError names the value, the limit and the remedy.

        Its parameters are keyword-only and are what users can set, typed as `read_value` reads them.
        """
        ...

    def headline(self) -> str:
        """The questions, for the first line of output: `ruler: 13 prompts (13 tasks × 1 sample at 4,096 tokens)`."""
        ...

    def contexts(self) -> tuple[int, ...]:
        """Context lengths that prompts fill; empty if prompts are as long as their questions."""
        ...


Settings = TypeVar("Settings", bound=SuiteSettings)


@dataclass(frozen=True, slots=True)
class Reader:
    """The model as a suite sees it."""

    tokenizer: Tokenizer
    max_tokens: int | None = None
    """Longer questions are left out, never truncated; None if there is no limit."""
    chat: ChatOptions = RAW

    def prompts(self) -> Chat:
        """What renders the prompts of a suite; raises UsageError if the tokenizer has no template for it."""
        return Chat(self.tokenizer, self.chat)


def readable_tokens(identity: ModelIdentity) -> int | None:
    """Maximum length of a question in tokens: the trained length of a model with positions, else None."""
    return None if identity.positions.kind == "none" else identity.trained_length


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSpec(Generic[Settings]):
    """Everything evalkit needs to know about a suite."""

    name: str
    settings: type[Settings]
    build: Callable[[Settings, Reader], Suite[Any]]
    quick: Mapping[str, Any] = field(default_factory=dict)
    """Defaults for the small models that come with evalkit."""
    own_questions: str | None = None
    """Setting for the user's own questions, to which the quick defaults do not apply."""
    others: "Callable[[Settings], Mapping[str, tuple[str, Settings]]] | None" = None
    """Models that have to run first, with their settings, by role."""
    check_inputs: "Callable[[Settings], None] | None" = None
    """Raises UsageError for the user's own files and names of tasks that cannot be used; needs no model, and takes
    seconds."""
    conclude: "Callable[[Settings, StoredRun, Mapping[str, StoredRun]], RunRecord] | None" = None
    """Returns the record of a run with verdicts from its samples and from other runs, by role."""
    summarize: "Callable[[Settings, Sequence[SampleRecord]], SuiteSummary] | None" = None
    """The summary of a run from its settings and samples; None if it needs more than these."""
    report: str = "reports.scores:report"
    """`module:function` from a RunRecord to its SuiteReport; by default scores by task and length, then figures."""
    charts: str = "reports.run_charts:charts_of"
    """`module:function` from a RunRecord and its samples to charts; by default all that its coordinates allow."""
    stores_charts: bool = False
    """Whether the charts of a run are written into its folder."""
    tasks: Sequence[str] = ()
    """Names of the rows of the whole suite, if they are known without a run."""
    scores_only: bool = False
    """True if no request generates text, so that decoding needs no batch."""
    renders_chat: bool = False
    """Whether `build` renders prompts by `Reader.prompts`, so that --chat has a meaning."""
    chat_settings: Sequence[str] = ()
    """Settings that have a meaning only with --chat, and are None by default."""
    thinks: bool = False
    """Whether answers may follow a thought, so that --thinking has a meaning."""

    def read(
        self, values: Mapping[str, Any], models: Iterable[str] = (), *, where: str = "", folder: Path | None = None
    ) -> Settings:
        """The settings that a command line or a plan gives; UsageError names the one that is wrong after `where`.

        None leaves a setting at its default. The quick defaults apply if all of `models`, and those named by the
        settings, come with evalkit. Paths are relative to `folder`.
        """
        hints = get_type_hints(self.settings.of)
        given = {}
        for name, value in values.items():
            if name not in self.parameters:
                raise UsageError(f"{where}{name} is unknown{did_you_mean(name, self.parameters)}")
            if value is not None:
                given[name] = read_value(value, hints[name], f"{where}{name}", folder)
        for name, parameter in self.parameters.items():
            if parameter.default is parameter.empty and name not in given:
                raise UsageError(f"{where}{name} is missing")
        settings: Settings = self.settings.of(**given)
        used = [*models, *(model for model, _ in self.runs_first(settings).values())]
        if self.own_questions not in given and used and all(model.startswith(REFERENCE_PREFIX) for model in used):
            settings = self.settings.of(**{**self.quick, **given})
        return settings

    def check_chat(self, chat: ChatOptions, settings: Settings) -> None:
        """Raise UsageError if the suite cannot put the questions of `settings` in this convention."""
        mode = chat.mode
        if mode is not ChatMode.OFF and not self.renders_chat:
            others = ", ".join(name for name in suite_names() if find_suite(name).renders_chat)
            raise UsageError(
                f"--chat {mode}: {self.name} has no chat form; leave --chat out, or run a suite that has one: {others}"
            )
        for name in self.chat_settings if mode is ChatMode.OFF else ():
            if getattr(settings, name) is not None:
                raise UsageError(f"{name} has a meaning only in a chat; add --chat user, or leave it out")
        chat.check()
        if chat.thinking and not self.thinks:
            others = ", ".join(name for name in suite_names() if find_suite(name).thinks)
            raise UsageError(
                f"--thinking {chat.thinking}: {self.name} takes no thoughts; use --thinking off, or run a suite that "
                f"takes them: {others}"
            )

    def runs_first(self, settings: Settings) -> Mapping[str, tuple[str, Settings]]:
        """Models that have to run before, with their settings, by role."""
        return {} if self.others is None else self.others(settings)

    def stored(self, config: Mapping[str, Any]) -> Settings:
        """The settings of a stored run; UsageError if they are not those of this version."""
        try:
            return from_dict(self.settings, dict(config))
        except RecordError as error:
            raise UsageError(f"the settings of the run do not fit this version of {self.name}: {error}") from None

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """What users can set, by name."""
        return inspect.signature(self.settings.of).parameters


SUITES = {
    "ruler": "suites.ruler:SPEC",
    "mmlu": "suites.mmlu:SPEC",
    "track": "suites.state_tracking:SPEC",
    "extend": "suites.context_extension:SPEC",
    "loss": "suites.text_loss:SPEC",
    "lm-eval": "suites.lm_eval_tasks:SPEC",
}
"""Suites that come with evalkit, in the order of reports."""
GROUP = "evalkit.suites"


def suite_names() -> tuple[str, ...]:
    """Names of all suites that are installed: evalkit's own, then those of other packages."""
    return (*SUITES, *sorted(set(_entry_points()) - set(SUITES)))


def suite_position(name: str) -> tuple[int, str]:
    """Sort key of suites in reports."""
    own = list(SUITES)
    return (own.index(name) if name in own else len(own)), name


def find_suite(name: str) -> SuiteSpec[Any]:
    """The suite called `name`; UsageError if none is, or if its package cannot be used."""
    check_known("suite", [name], suite_names())
    source = SUITES.get(name) or _entry_points()[name]
    spec = _load(name, source)
    if not isinstance(spec, SuiteSpec) or spec.name != name:
        raise UsageError(f"suite {name}: {source} is not a SuiteSpec of that name")
    return spec


def split_tasks(name: str) -> tuple[str, str | None]:
    """A suite's name and the tasks that may follow it, as in `lm-eval:arc_challenge,hellaswag`."""
    suite, colon, tasks = name.partition(":")
    return suite, tasks if colon else None


def find_hook(suite: str, hook: Literal["report", "charts"]) -> Callable[..., Any]:
    """What makes the tables or charts of a stored run; the default of all suites if `suite` is not installed here."""
    source = getattr(find_suite(suite), hook) if suite in suite_names() else _DEFAULTS[hook]
    found: Callable[..., Any] = _load(suite, source)
    return found


_DEFAULTS = {field.name: str(field.default) for field in fields(SuiteSpec)}


def _load(suite: str, source: str) -> Any:
    """What `module:name` names."""
    module, _, name = source.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"suite {suite}: {source} cannot be imported: {error}") from error


@cache
def _entry_points() -> dict[str, str]:
    """Suites of other packages, looked up once per process: that reads the metadata of every installed package."""
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
