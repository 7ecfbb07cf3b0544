"""Changed prompts keep their beginning and their question, and end exactly at the borders."""

from hypothesis import given
from hypothesis import strategies as st

from evalkit.analysis.agreement.probes import SHARED, TAIL_TOKENS, WHOLE, Probe, borders, make_probes

BLOCKS = {"engine segment": 256, "server block": 16}


def prompt(number: int, tokens: int) -> Probe:
    return Probe(f"p{number}", WHOLE, 1024, tuple(range(1000 * number, 1000 * number + tokens)), 8)


@given(st.integers(1, 5000))
def test_borders_are_the_last_ones_inside_a_prompt(tokens: int) -> None:
    found = borders(tokens, BLOCKS)
    for name, size in BLOCKS.items():
        if name in found:
            assert found[name] < tokens <= found[name] + size
            assert found[name] % size == 0
        else:
            assert tokens <= 2 * TAIL_TOKENS + size
    if "power of two" in found:
        assert found["power of two"].bit_count() == 1
        assert found["power of two"] < tokens <= 2 * found["power of two"]


def test_lengths_lie_around_each_border_and_questions_stay() -> None:
    prompts = [prompt(1, 700), prompt(2, 690)]
    probes = make_probes(prompts, BLOCKS, lambda _: True)
    assert probes[:2] == prompts
    by_group: dict[str, list[int]] = {}
    for probe in probes:
        by_group.setdefault(probe.group, []).append(len(probe.token_ids))
    assert by_group == {
        WHOLE: [700, 690],
        SHARED: [700, 690],
        "ends at, before and after: engine segment": [511, 512, 513],
        "ends at, before and after: server block": [687, 688, 689],
    }, "the power of two, 512, is the same border again"
    shared = [probe for probe in probes if probe.group == SHARED]
    assert shared[0].token_ids == (*prompts[0].token_ids[:-TAIL_TOKENS], *prompts[1].token_ids[-TAIL_TOKENS:])
    for probe in probes[4:]:
        whole = prompts[0 if probe.name.startswith("p1") else 1].token_ids
        assert probe.token_ids[-TAIL_TOKENS:] == whole[-TAIL_TOKENS:]
        assert probe.token_ids[:400] == whole[:400]


def test_a_seam_that_text_can_spell_is_looked_for() -> None:
    prompts = [prompt(1, 700), prompt(2, 700)]
    wanted = (*prompts[0].token_ids[: 700 - 70], *prompts[1].token_ids[-70:])
    probes = make_probes(prompts, {}, lambda ids: ids == wanted)
    assert probes[2].token_ids == wanted


def test_one_prompt_has_nothing_to_share_and_a_short_one_no_border() -> None:
    assert make_probes([prompt(1, 100)], BLOCKS, lambda _: True) == [prompt(1, 100)]
