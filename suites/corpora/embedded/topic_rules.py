"""A topic's lists as rules of the grammar."""

from suites.corpora.embedded.topic import Topic, singular_and_plural, split_phrases, split_words, with_article

Rules = dict[str, tuple[str, ...]]


def rules_of(topic: Topic) -> Rules:
    """The symbols that change with the subject, each with its alternatives."""
    things = [singular_and_plural(entry) for entry in split_words(topic.things)]
    trades = [singular_and_plural(entry) for entry in split_words(topic.trades)]
    traits = split_words(topic.traits)
    return {
        "thing": tuple(singular for singular, _ in things),
        "things": tuple(plural for _, plural in things),
        "a_thing": tuple(with_article(singular) for singular, _ in things),
        "the_thing": tuple(f"the {singular}" for singular, _ in things),
        "stuff": split_words(topic.stuff),
        "place": split_phrases(topic.places),
        "trades": tuple(plural for _, plural in trades),
        "a_trade": tuple(with_article(singular) for singular, _ in trades),
        "trait": traits,
        "a_trait": tuple(with_article(trait) for trait in traits),
        "did": split_phrases(topic.did),
        "befell": split_phrases(topic.befell),
        "claim": split_phrases(topic.claims),
        "art": split_phrases(topic.arts),
    }
