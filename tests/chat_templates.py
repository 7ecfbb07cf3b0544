"""Small chat templates in the styles of two families."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Keeps outer spaces, and writes no BOS."""
LLAMA = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
"""Begins with BOS, and removes outer spaces."""
_STORED_THOUGHT = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and '</think>' in message['content'] %}"
    "{{ '<think>\n' + message['content'].split('</think>')[0].split('<think>')[-1].strip() + '\n</think>\n\n' }}"
    "{{ message['content'].split('</think>')[-1].lstrip() }}"
    "{% elif message['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' + message['content'] }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{{ '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
)
CHOOSES = (
    _STORED_THOUGHT + "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
"""The model opens a thought itself, unless a switch closes it."""
OPENS = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    + _STORED_THOUGHT
    + "{% if enable_thinking %}{{ '<think>\n' }}{% else %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
"""Opens a thought, unless a switch closes it."""
ALWAYS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|User|>' + message['content'] }}"
    "{% else %}{{ '<|Assistant|>' + message['content'].split('</think>')[-1] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
"""Opens a thought without a switch, and forgets stored ones."""
CLOSES = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|User|>' + message['content'] }}"
    "{% else %}{{ '<|Assistant|></think>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|>' }}"
    "{% if thinking is defined and thinking %}{{ '<think>' }}{% else %}{{ '</think>' }}{% endif %}{% endif %}"
)
"""Thinks only if a switch says so, and otherwise closes a thought that it has not opened."""
STRIPS = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
"""Forgets stored thoughts, and leaves them to the model without a switch."""
THINKING = {"chooses": CHOOSES, "opens": OPENS, "always": ALWAYS, "closes": CLOSES, "strips": STRIPS}
TEMPLATES = {"chatml": CHATML, "llama": LLAMA}
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
"""Refuses system messages, as Gemma's does."""
