"""Copied tokens: those that end an n-gram which occurred earlier."""

from collections.abc import Sequence


def is_copy(token_ids: Sequence[int], ngram: int) -> list[bool]:
    """For each token, whether the `ngram` tokens that end with it occurred earlier in `token_ids`.

    The loss on these tokens measures recall from the context. With bigrams and a limit to rare ones it is the split of
    Arora et al., Zoology (2023, arXiv 2312.04927).
    """
    seen: set[tuple[int, ...]] = set()
    copies = [False] * min(ngram - 1, len(token_ids))
    for end in range(ngram, len(token_ids) + 1):
        gram = tuple(token_ids[end - ngram : end])
        copies.append(gram in seen)
        seen.add(gram)
    return copies
