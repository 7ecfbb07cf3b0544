"""Chat templates of tokenizers, rendered by transformers."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from model_adapters.messages import first_line

# Templates that ask for today's date would make another prompt every day. The date is Llama 3's own default.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}"
    "{%- if format == '%Y-%m-%d' -%} 2024-07-26 {%- else -%} 26 Jul 2024 {%- endif -%}"
    "{%- endmacro %}"
)


class JinjaTemplate:
    """evalkit.running.protocols.ChatTemplate over a Jinja template; safe to use from several threads."""

    def __init__(self, source: str, special_tokens: Mapping[str, Any]) -> None:
        """`special_tokens` are the tokenizer's by name, such as bos_token, which templates refer to."""
        self._source = source
        self._variables = dict(special_tokens)
        self._sha256 = f"sha256:{hashlib.sha256(source.encode()).hexdigest()}"

    @property
    def sha256(self) -> str:
        return self._sha256

    @property
    def source(self) -> str:
        return self._source

    @cached_property
    def variables(self) -> frozenset[str]:
        """Those that Jinja finds; none of a template that it cannot parse, which rendering reports."""
        from transformers.utils.chat_template_utils import _get_template_variables

        try:
            return frozenset(_get_template_variables(self._source))
        except Exception:  # noqa: BLE001  # a template that cannot be parsed; rendering it says so
            return frozenset()

    def with_variables(self, values: Mapping[str, Any]) -> "JinjaTemplate":
        return JinjaTemplate(self._source, {**self._variables, **values})

    def render(self, question: str, answer: str = "", *, closed: bool = False) -> str:
        messages = [{"role": "user", "content": question}]
        if answer:
            messages.append({"role": "assistant", "content": answer})
        return self._render(messages, continued=bool(answer) and not closed, opened=not answer)

    def conversation(self, messages: Sequence[Mapping[str, str]], *, continued: bool = False) -> str:
        return self._render(messages, continued=continued, opened=not continued)

    def _render(self, messages: Sequence[Mapping[str, str]], *, continued: bool, opened: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            # It returns the texts and the spans of answers, whatever its annotation says.
            made: Any = render_jinja_template(
                conversations=[[dict(message) for message in messages]],
                chat_template=_FIXED_DATE + self._source if "strftime_now" in self._source else self._source,
                continue_final_message=continued,
                add_generation_prompt=opened,
                **self._variables,
            )
        except Exception as error:  # a template is a program, which may fail in any way
            raise ValueError(first_line(error)) from error
        return str(made[0][0])


def chat_template_of(tokenizer: Any) -> JinjaTemplate | None:
    """The template of a tokenizer of transformers, its default if it has several; None if it has none.

    Raises ValueError if the template is no text.
    """
    try:
        source = tokenizer.get_chat_template()
    except ValueError:
        return None
    if not isinstance(source, str):
        raise ValueError(f"chat_template is {source!r}, not text")
    return JinjaTemplate(source, tokenizer.special_tokens_map)
