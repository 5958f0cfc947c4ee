"""Chat templates with generation tags, and the tokenizer that the golden files of shapes use.

Used by shapes.py. The templates are written after the formats of ChatML, Llama 3 and SmolLM3.
"""

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
