"""A stored sample's prompt made again: records keep its sha256 and what it is a function of."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, UsageError

if TYPE_CHECKING:
    from evalkit.records import RunRecord, Sample, SampleRecord
    from evalkit.running.protocols import Suite, Tokenizer


class PromptRemaker:
    """Makes the prompts of one run again, as long as its tokenizer, suite and corpora are still at hand."""

    def __init__(self, record: "RunRecord") -> None:
        """Raises UsageError saying what is missing."""
        self._suite = _suite_of(record)

    def sample(self, stored: "SampleRecord") -> "Sample":
        """The sample as it was asked; UsageError where it would be another prompt now."""
        from evalkit.records import SampleKey

        try:
            sample = self._suite.sample(SampleKey(stored.task, stored.ctx, stored.index, stored.seed))
        except (EvalkitError, LookupError, ValueError) as error:
            raise UsageError(f"sample {stored.id} cannot be made again: {error}") from None
        if hashlib.sha256(sample.prompt.encode("utf-8", "surrogatepass")).hexdigest() != stored.prompt_sha256:
            raise UsageError(
                f"sample {stored.id} would be another prompt now; use the corpora and the version that the run names"
            )
        return sample


def _suite_of(record: "RunRecord") -> "Suite":
    from model_adapters.loading import load_tokenizer

    if "predictions" in record.config:
        raise UsageError(f"the prompts were made elsewhere; they stand in {record.config['predictions']}")
    builder = _BUILDERS.get(record.suite)
    if builder is None:
        raise UsageError(f"prompts of {record.suite} cannot be made again from their record")
    tokenizer = load_tokenizer(record.model.path, trust_remote_code=False)
    if tokenizer.fingerprint != record.model.tokenizer:
        raise UsageError(f"{record.model.path} has another tokenizer now, and prompts are sized by it")
    try:
        suite = builder(record.config, tokenizer)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the run's settings are not those of this version's {record.suite}: {error}") from None
    if (suite.version, suite.dialect) != (record.suite_version, record.dialect):
        raise UsageError(f"the run is of version {record.suite_version} of {record.suite}, this is {suite.version}")
    return suite


def _ruler(config: Mapping[str, Any], tokenizer: "Tokenizer") -> "Suite":
    from suites.ruler import RulerSettings, build

    settings = RulerSettings.of(
        ctxs=tuple(config["ctxs"]),
        tasks=tuple(config["tasks"]),
        samples=config["samples"],
        seed=config["seed"],
        dialect=config["dialect"],
        data=None if config["data"] is None else Path(config["data"]),
    )
    return build(settings, tokenizer)


def _track(config: Mapping[str, Any], tokenizer: "Tokenizer") -> "Suite":
    from suites.state_tracking import StateTrackingSettings, build

    settings = StateTrackingSettings.of(
        tasks=config["tasks"],
        updates=config["updates"],
        ctxs=config["ctxs"],
        samples=config["samples"],
        seed=config["seed"],
        shots=config["shots"],
    )
    return build(settings, tokenizer)


def _loss(config: Mapping[str, Any], tokenizer: "Tokenizer") -> "Suite":
    from suites.text_loss import TextLossSettings, build

    settings = TextLossSettings.of(
        path=None if config["path"] is None else Path(config["path"]),
        ctx=config["ctxs"][0],
        overlap=config["overlap"],
        ngram=config["ngram"],
        samples=config["samples"],
        field=config["field"],
    )
    return build(settings, tokenizer)


def _mmlu(config: Mapping[str, Any], tokenizer: "Tokenizer") -> "Suite":
    from suites.mmlu import MmluSettings, build

    settings = MmluSettings.of(
        subjects=config["subjects"],
        shots=config["shots"],
        samples=config["samples"],
        variant=config["variant"],
        data=None if config["data"] is None else Path(config["data"]),
    )
    return build(settings, tokenizer)


def _lm_eval(config: Mapping[str, Any], tokenizer: "Tokenizer") -> "Suite":
    from suites.lm_eval_tasks import LmEvalSettings, build

    settings = LmEvalSettings.of(
        tasks=config["tasks"],
        shots=config["shots"],
        samples=config["samples"],
        include_path=None if config["include_path"] is None else Path(config["include_path"]),
        seed=config["seed"],
    )
    return build(settings, tokenizer)


_BUILDERS: dict[str, Callable[[Mapping[str, Any], "Tokenizer"], "Suite"]] = {
    "ruler": _ruler,
    "mmlu": _mmlu,
    "lm-eval": _lm_eval,
    "track": _track,
    "loss": _loss,
}
