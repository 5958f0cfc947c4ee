"""Chat templates with generation tags, and the tokenizer that the golden files of shapes use.

Used by shapes.py. The templates are written after the formats of ChatML, Llama 3 and SmolLM3.
"""

import json
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import trainers
from transformers import PreTrainedTokenizerFast

TAGS = re.compile(r"\{% (end)?generation %\}")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Contents are lists of parts.
CHATML_PARTS = re.sub(
    r"\{\{ message\.content \+ '<\|im_end\|>' \}\}",
    "{% for part in message.content %}{{ part.text }}{% endfor %}{{ '<|im_end|>' }}",
    CHATML,
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content | trim + '<|eot_id|>' }}{% endgeneration %}"
    "{% else %}{{ message.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
SMOLLM3_BEGIN = (
    "{% set quick = messages[0].role == 'system' and '/no_think' in messages[0].content %}"
    "{% set header = '<|im_start|>assistant\\n' + ('<think>\\n\\n</think>\\n' if quick else '') %}"
    "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\\n## Metadata\\n\\nReasoning Mode: /think\\n\\n<|im_end|>\\n' }}"
    "{% endif %}{% for message in messages %}{% if message.role == 'assistant' %}"
)
SMOLLM3_END = (
    "{% else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ header }}{% endif %}"
)
SMOLLM3_CONTENT = "message.content.lstrip('\\n') + '<|im_end|>'"
SMOLLM3 = (
    SMOLLM3_BEGIN
    + "{{ header }}{% generation %}{{ "
    + SMOLLM3_CONTENT
    + " }}{% endgeneration %}{{ '\\n' }}"
    + SMOLLM3_END
)
# The released template has the header and the last line break inside its tags.
SMOLLM3_WIDE = (
    SMOLLM3_BEGIN
    + "{% generation %}{{ header + "
    + SMOLLM3_CONTENT
    + " + '\\n' }}{% endgeneration %}"
    + SMOLLM3_END
)
# Tags around the content alone: no end token is learnt.
CHATML_CONTENT = CHATML.replace(
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}",
    "{% generation %}{{ message.content }}{% endgeneration %}{{ '<|im_end|>' }}",
)

# Source with the tags around content and end token, source with the tags as released, end token.
FAMILIES = {
    "chatml": (CHATML, CHATML, "<|im_end|>"),
    "llama-3": (LLAMA3, LLAMA3, "<|eot_id|>"),
    "smollm3": (SMOLLM3, SMOLLM3_WIDE, "<|im_end|>"),
    "chatml-content": (CHATML, CHATML_CONTENT, "<|im_end|>"),
}
# Qwen2.5's, which writes tools and calls as Hermes does. tool_shapes.py checks that the text is that
# of the released template.
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
QWEN_TOOLS = (
    "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\\n<tools>"
)
QWEN_CALLS = (
    "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\\n<tool_call>\\n"
    '{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call>'
)
QWEN = (
    "{% set first = messages[0] %}{{ '<|im_start|>system\\n' }}"
    "{{ first.content if first.role == 'system' else '" + QWEN_SYSTEM + "' }}"
    '{% if tools %}{{ "' + QWEN_TOOLS + '" }}{% for tool in tools %}{{ "\\n" }}{{ tool | tojson }}'
    '{% endfor %}{{ "' + QWEN_CALLS + "\" }}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "{{ '<|im_start|>assistant\\n' }}{% generation %}{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '\\n' if message.content or not loop.first else '' }}"
    "{{ '<tool_call>\\n{\"name\": \"' + call.function.name + '\", \"arguments\": ' }}"
    "{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% elif message.role == 'tool' %}"
    "{% if loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% elif message.role == 'user' or not loop.first %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# After Llama 3.1's: tools with an indent, results as JSON; but every call of a turn, and its text.
LLAMA3_TOOLS = (
    "{{ bos_token }}{% if tools %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' }}"
    "{{ 'Environment: ipython\\n' }}{% for tool in tools %}{{ tool | tojson(indent=4) + '\\n\\n' }}"
    "{% endfor %}{{ '<|eot_id|>' }}{% endif %}{% for message in messages %}"
    "{{ '<|start_header_id|>' + ('ipython' if message.role == 'tool' else message.role) }}"
    "{{ '<|end_header_id|>\\n\\n' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content | trim if message.content is string else '' }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '{\"name\": \"' + call.function.name + '\", \"parameters\": ' }}"
    "{{ call.function.arguments | tojson }}{{ '}' }}{% endfor %}{{ '<|eot_id|>' }}{% endgeneration %}"
    "{% elif message.role == 'tool' %}"
    "{{ (message.content | tojson if message.content is iterable else '') + '<|eot_id|>' }}"
    "{% else %}{{ message.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

# As FAMILIES, of the shapes with tools.
TOOL_FAMILIES = {
    "qwen2.5": (QWEN, QWEN, "<|im_end|>"),
    "llama-3-tools": (LLAMA3_TOOLS, LLAMA3_TOOLS, "<|eot_id|>"),
}

BOS, EOS = "<|begin_of_text|>", "<|endoftext|>"
SPECIAL = [
    EOS,
    BOS,
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
N_TOKENS = 900


def untagged(source):
    return TAGS.sub("", source)


def write(out):
    """`templates.json`."""
    known = {
        name: {"plain": untagged(tight), "tags": wide, "end": end, "bos": BOS}
        for name, (tight, wide, end) in (FAMILIES | TOOL_FAMILIES).items()
    }
    (out / "templates.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def small_tokenizer(texts):
    """Byte-level BPE that puts BOS before a text, as Llama 3's does."""
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = dict(vocab_size=N_TOKENS, show_progress=False)
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **size)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    ids = [(BOS, tokenizer.token_to_id(BOS))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=ids)
    return tokenizer


def with_template(tokenizer, source, bos, eos):
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    made.chat_template = source
    return made
