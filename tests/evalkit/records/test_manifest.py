"""Two runs are of the same kind if everything that both know agrees; corpora are compared by role and name."""

from dataclasses import replace

import pytest

from evalkit.records import CorpusUse, EngineDescription
from evalkit.records.manifest import Manifest, by_role, corpus_conflicts
from model_adapters.scripted import SCRIPTED_IDENTITY


def manifest(*corpora: CorpusUse, **settings: str) -> Manifest:
    return Manifest.of(
        suite="tiny",
        version="1",
        dialect="plain",
        seed=42,
        identity=SCRIPTED_IDENTITY,
        corpora=corpora,
        question_settings=settings,
    )


def use(role: str, name: str, sha256: str) -> CorpusUse:
    return CorpusUse(role, name, sha256, "tests")


ESSAYS = use("essays", "novels", "aa")


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ([ESSAYS], [ESSAYS, use("squad", "dev", "bb")]),
        ([ESSAYS, use("squad", "dev", "bb")], [ESSAYS]),
        ([use("samples", "vt@4096", "aa")], [use("samples", "vt@4096", "aa"), use("samples", "cwe@4096", "bb")]),
        ([ESSAYS], [use("essays", "novels of another folder", "aa")]),
        ([], [ESSAYS]),
    ],
)
def test_what_only_one_needs_does_not_part_them(here: list[CorpusUse], there: list[CorpusUse]) -> None:
    assert manifest(*here).differences(manifest(*there)) == []


@pytest.mark.parametrize(
    ("here", "there", "named"),
    [
        ([ESSAYS], [replace(ESSAYS, sha256="bb")], ("corpus essays", "novels (aa)", "novels (bb)")),
        ([ESSAYS], [use("essays", "prose", "bb")], ("corpus essays", "novels (aa)", "prose (bb)")),
        (
            [use("samples", "vt@4096", "aa"), use("samples", "cwe@4096", "cc")],
            [use("samples", "vt@4096", "bb"), use("samples", "cwe@4096", "cc")],
            ("corpus samples", "vt@4096 (aa)", "vt@4096 (bb)"),
        ),
        (
            [use("samples", "old name of vt", "aa"), use("samples", "old name of cwe", "cc")],
            [use("samples", "vt@4096", "bb"), use("samples", "cwe@4096", "cc")],
            ("corpus samples", "old name of vt (aa), old name of cwe (cc)", "vt@4096 (bb), cwe@4096 (cc)"),
        ),
    ],
)
def test_a_role_that_is_served_differently_is_named(
    here: list[CorpusUse], there: list[CorpusUse], named: tuple[str, str, str]
) -> None:
    assert corpus_conflicts(by_role(here), by_role(there)) == [named]
    assert manifest(*here).differences(manifest(*there)) == [f"{named[0]}: {named[1]} -> {named[2]}"]


def test_extending_adds_and_keeps() -> None:
    begun = manifest(ESSAYS, use("samples", "vt@4096", "aa"), field="text")
    wider = manifest(use("samples", "cwe@4096", "bb"), use("squad", "dev", "cc"), other="x")
    assert begun.extended(wider).corpora == {
        "essays": {"novels": "aa"},
        "samples": {"vt@4096": "aa", "cwe@4096": "bb"},
        "squad": {"dev": "cc"},
    }
    assert begun.extended(wider).question_settings == {"field": "text", "other": "x"}


def test_what_one_does_not_know_is_accepted_and_then_known() -> None:
    unknown = replace(manifest(ESSAYS), quantization=None, position_scheme=None)
    known = manifest(ESSAYS, field="text").answered_by(EngineDescription(engine="evalkit", device="cuda:1"), "0.1.0")
    assert unknown.differences(known) == known.differences(unknown) == []
    assert unknown.unknown_beside(known) == [
        "position_scheme", "quantization", "evalkit", "engine", "device", "field"
    ]  # fmt: skip
    assert known.unknown_beside(unknown) == []
    completed = unknown.extended(known)
    assert completed == known
    assert completed.differences(known.answered_by(EngineDescription(device="cpu"), "0.1.0")) == ["device: cuda -> cpu"]


def test_only_what_is_asked_of_which_model_names_a_folder() -> None:
    base = manifest(ESSAYS)
    reworded = replace(SCRIPTED_IDENTITY.positions, description="no positions at all")
    assert base.answered_by(EngineDescription(device="cuda"), "9").asked == base.asked
    assert (
        replace(base, model="elsewhere", positions=reworded.description, position_scheme=reworded).asked == base.asked
    )
    assert replace(base, seed=1).asked != base.asked
    assert manifest(use("squad", "dev", "cc")).asked != base.asked
