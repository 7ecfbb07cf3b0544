"""Whole prompts of stored samples, built again from what determines them and checked against their sha256."""

import hashlib
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError, UsageError
from evalkit.running.model_options import read_model_options
from evalkit.suite_spec import Reader, find_suite

if TYPE_CHECKING:
    from evalkit.records import RunRecord, RunStart, Sample, SampleRecord
    from evalkit.running.protocols import Suite

_STATED = ("tokenizer", "chat", "thinking", "think_tags")
"""Options of a model that decide its prompts."""


def remake(record: "RunRecord", stored: "SampleRecord") -> "Sample":
    """Build a stored sample again, with its whole prompt.

    Raises UsageError if the run's tokenizer, suite or corpora are missing, or if they give another prompt now.
    """
    from evalkit.records import SampleKey

    suite = suite_of(record)
    try:
        sample: Sample = suite.ask(SampleKey(stored.task, stored.ctx, stored.index, stored.seed)).sample
    except (EvalkitError, LookupError, ValueError) as error:
        raise UsageError(f"sample {stored.id} cannot be regenerated: {error}") from None
    if hashlib.sha256(sample.prompt.encode("utf-8", "surrogatepass")).hexdigest() != stored.prompt_sha256:
        raise UsageError(
            f"sample {stored.id} would have a different prompt now; use the corpora and the version that the run names"
        )
    return sample


def suite_of(record: "RunRecord | RunStart") -> "Suite[Any]":
    """The suite of a stored run, with its settings and its model's tokenizer; raises UsageError as `remake`."""
    from evalkit.suite_spec import readable_tokens
    from model_adapters.opening import open_tokenizer

    if "predictions" in record.config:
        raise UsageError(f"the prompts were made by another tool; they are in {record.config['predictions']}")
    spec = find_suite(record.suite)
    stated = {name: record.config[name] for name in _STATED if record.config.get(name) is not None}
    options = read_model_options(record.model.path, stated, where="")
    tokenizer = open_tokenizer(options)
    if tokenizer.fingerprint != record.model.tokenizer:
        raise UsageError(f"{record.model.path} has a different tokenizer now, and the tokenizer decides the prompts")
    reader = Reader(tokenizer, readable_tokens(record.model), options.chat_options)
    if reader.prompts().template_sha256 != record.model.chat_template:
        raise UsageError(f"{record.model.path} has a different chat template now, and the template decides the prompts")
    suite = spec.build(spec.stored(record.config), reader)
    if (suite.version, suite.dialect) != (record.suite_version, record.dialect):
        raise UsageError(f"the run is of version {record.suite_version} of {record.suite}, this is {suite.version}")
    return suite
