"""Which tokens end an n-gram that the text before them already had: those that a model can copy."""

from collections.abc import Sequence


def is_copy(token_ids: Sequence[int], ngram: int) -> list[bool]:
    """For each token whether the `ngram` tokens that end with it occurred earlier in `token_ids`.

    The loss on such tokens measures recall from the context, the rest everything else; with two tokens and a limit
    to rare ones it is the split of Arora et al., Zoology (2023, arXiv 2312.04927).
    """
    seen: set[tuple[int, ...]] = set()
    copies = [False] * min(ngram - 1, len(token_ids))
    for end in range(ngram, len(token_ids) + 1):
        gram = tuple(token_ids[end - ngram : end])
        copies.append(gram in seen)
        seen.add(gram)
    return copies
