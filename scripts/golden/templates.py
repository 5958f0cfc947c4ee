"""Chat templates rendered by transformers -> tests/golden/templates.json. Needs transformers.

    python scripts/golden/templates.py

The Llama 2 and Llama 3 templates are written after the formats those models were trained on; SmolLM2's is its own.
"""

import json
import pathlib

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA2 = """{% if messages[0]['role'] == 'system' %}
    {% set loop_messages = messages[1:] %}
    {% set system_message = messages[0]['content'] %}
{% else %}
    {% set loop_messages = messages %}
    {% set system_message = false %}
{% endif %}
{% for message in loop_messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {% endif %}
    {% if loop.index0 == 0 and system_message != false %}
        {% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {% else %}
        {% set content = message['content'] %}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {% elif message['role'] == 'assistant' %}
        {{- ' ' + content.strip() + ' ' + eos_token }}
    {% endif %}
{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- if tools is not none %}
    {{- raise_exception('no tools here') }}
{%- endif %}
{%- for message in messages %}
    {%- set content = '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' ~ message.content | trim ~ '<|eot_id|>' %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Everything else that templates in the wild lean on: whitespace control by blocks, namespaces, loop controls, Python's
# string methods, JSON, macros, generation tags, tests.
HABITS = """{% set ns = namespace(users=0) %}
{% macro tag(name) %}<{{ name }}>{% endmacro %}
{% for message in messages %}
    {% if message.role == 'system' %}
        {% continue %}
    {% endif %}
    {% if message.role == 'user' %}
        {% set ns.users = ns.users + 1 %}
        {{ tag('u') }}{{ ns.users }}: {{ message['content'].strip().split(' ')[0] | upper }}
    {% else %}
        {% generation %}{{ message.content.rstrip() }}{% endgeneration %}

    {% endif %}
    {% if not loop.last and message.content is string and message.content.startswith('A') %}starts with A{% endif %}
{% endfor %}
{{ messages | tojson }}
{{ messages[-1] | tojson(indent=2) }}
{{ messages | length }} {{ messages[0].get('name', 'nobody') }} {{ documents is none }} {{ nothing is defined }}
{% for key, value in messages[0].items() %}{{ key }}={{ value | replace('\\n', '/') }};{% endfor %}
{{ ['b', 'a'] | join(', ') }} {{ 'Ab'.lower() }} {{ 'x' in 'xyz' }} {{ messages | map(attribute='role') | list | join('>') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{% if add_generation_prompt %}{{ tag('a') }}{% endif %}"""

USER = [{"role": "user", "content": "What is the capital of France?"}]
SYSTEM = [{"role": "system", "content": "Answer in one word.\nBe kind."}, *USER]
LONG = [
    *SYSTEM,
    {"role": "assistant", "content": "Paris. "},
    {"role": "user", "content": "  And of \"España\" <b>&amp;</b> {{ x }}?\n\n"},
]
FULL = [*LONG, {"role": "assistant", "content": "A capital: Madrid \U0001f1ea\U0001f1f8"}]

TEMPLATES = {
    "smollm2": (SMOLLM2, "<|im_start|>", "<|im_end|>"),
    "llama-2": (LLAMA2, "<s>", "</s>"),
    "llama-3": (LLAMA3, "<|begin_of_text|>", "<|eot_id|>"),
    "habits": (HABITS, "<s>", "</s>"),
}


def main():
    cases = []
    for name, (source, bos, eos) in TEMPLATES.items():
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.BPE()), bos_token=bos, eos_token=eos, chat_template=source
        )
        for messages in (USER, SYSTEM, LONG, FULL):
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            cases.append({"template": name, "messages": messages, "text": text})
    golden = {
        "templates": {n: {"source": s, "bos": b, "eos": e} for n, (s, b, e) in TEMPLATES.items()},
        "cases": cases,
    }
    path = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "templates.json"
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
