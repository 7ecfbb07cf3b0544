"""The cards that ship are what the records of history say."""

import pytest

from evalkit.stored_run import load_run
from model_adapters.reference import NAMES, folder
from model_adapters.reference.card import HISTORY, card, pair_table


@pytest.mark.parametrize("kind", NAMES)
def test_a_card_holds_what_its_records_say(kind: str) -> None:
    assert (folder(kind) / "README.md").read_text(encoding="utf-8") == card(kind)


def test_the_readme_opens_with_the_pairs_table() -> None:
    readme = (HISTORY.parents[2] / "README.md").read_text(encoding="utf-8")
    assert "\n".join(pair_table()) in readme


@pytest.mark.parametrize("kind", NAMES)
def test_history_has_five_checkpoints_equally_spaced_in_tokens(kind: str) -> None:
    seen = [load_run(path).record.tokens_seen for path in sorted((HISTORY / kind).glob("checkpoint-*"))]
    final = load_run(HISTORY / kind / "lengths").record.tokens_seen
    assert final is not None
    assert seen == pytest.approx([final * part / 6 for part in range(1, 6)], rel=0.01)
