"""Chat templates of the common families with small tokenizers of the common kinds: text, ids and assistant masks by
transformers -> tests/golden/chat.json. Needs transformers and tokenizers.

    python scripts/golden/chat.py            # the small tokenizers
    python scripts/golden/chat.py DIR OUT    # the real one in DIR, whose ids alone are written to OUT

The templates are written after the formats that each family documents.
"""

import datetime
import json
import pathlib
import sys

import transformers.utils.chat_template_utils as chat_template_utils
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

DATE = datetime.datetime(2026, 3, 9, 7, 5, 0)


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return DATE


LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
"""
QWEN = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message.role == 'assistant' %}"
    "{%- generation -%}{{ message['content'] + '<|im_end|>' }}{%-endgeneration-%}{% else %}"
    "{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% elif message['role'] == 'system' %}{% set role = 'user' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
# As released, <|end|> is an added token that is not special.
PHI = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# source, BOS, EOS, the token that ends an answer
TEMPLATES = {
    "llama-2": (LLAMA2, "<s>", "</s>", "</s>"),
    "llama-3.2": (LLAMA3, "<s>", "</s>", "<|eot_id|>"),
    "mistral": (MISTRAL, "<s>", "</s>", "</s>"),
    "qwen2.5": (QWEN, "<s>", "<|im_end|>", "<|im_end|>"),
    "chatml": (CHATML, "<s>", "<|im_end|>", "<|im_end|>"),
    "zephyr": (ZEPHYR, "<s>", "</s>", "</s>"),
    "gemma": (GEMMA, "<s>", "</s>", "<end_of_turn>"),
    "phi": (PHI, "<s>", "</s>", "<|end|>"),
}
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPECIAL += ["<start_of_turn>", "<end_of_turn>", "<|user|>", "<|system|>", "<|assistant|>"]

USER = [{"role": "user", "content": "What is the capital of France?"}]
SYSTEM = [{"role": "system", "content": "Answer in one word.\nBe kind."}, *USER]
LONG = [*SYSTEM, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of \"España\"?\n"}]
CASES = [(USER, "Paris."), (SYSTEM, "It is Paris.\n\nThe city"), (LONG, "\u201cMadrid\u201d \U0001f1ea"), (USER, "(none)")]


def small_tokenizers():
    texts = [text for messages, answer in CASES for text in [answer, *(m["content"] for m in messages)]] * 4
    sentencepiece = dict(special_tokens=["<unk>"], initial_alphabet=[], vocab_size=420, show_progress=False)
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    made = {}
    for name in ("prepend", "metaspace", "metaspace-first", "bytes"):
        if name == "bytes":
            tokenizer = Tokenizer(models.BPE())
            split = Regex(r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
            )
            tokenizer.decoder = decoders.ByteLevel()
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(initial_alphabet=alphabet, vocab_size=330, show_progress=False)
            tokenizer.train_from_iterator(texts, trainer)
        else:
            tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
            if name == "prepend":
                replace = normalizers.Replace(" ", "\u2581")
                tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
            else:
                scheme = "first" if name.endswith("first") else "always"
                tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme=scheme, split=False)
            trainer = trainers.BpeTrainer(
                special_tokens=["<unk>", *byte_tokens], vocab_size=256 + 110, show_progress=False, limit_alphabet=60
            )
            tokenizer.train_from_iterator(texts, trainer)
            state = json.loads(tokenizer.to_str())
            state["added_tokens"] = []
            tokenizer = Tokenizer.from_str(json.dumps(state))
            steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
            tokenizer.decoder = decoders.Sequence(steps)
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
        tokenizer.add_tokens([AddedToken("<|end|>", special=False, normalized=False)])
        made[name] = tokenizer
    return made


def cases_of(tokenizer_name, tokenizer, names, keep_text):
    for name in names:
        source, bos, eos, end = TEMPLATES[name]
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, chat_template=source)
        for messages, answer in CASES:
            full = [*messages, {"role": "assistant", "content": answer}]
            prompt = fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            text = fast.apply_chat_template(full, tokenize=False)
            prompt_ids = fast(prompt, add_special_tokens=False).input_ids
            ids = fast(text, add_special_tokens=False).input_ids
            end_id = fast.convert_tokens_to_ids(end)
            last = len(ids) - 1 - ids[::-1].index(end_id)
            case = {"tokenizer": tokenizer_name, "template": name, "messages": messages, "answer": answer}
            case |= {"bos": bos or "", "eos": eos}
            case |= {"prompt_ids": prompt_ids, "ids": ids[: last + 1], "end": end}
            if keep_text:
                case |= {"prompt": prompt, "text": text}
            if "generation" in source.replace("add_generation_prompt", ""):
                masked = fast.apply_chat_template(full, return_dict=True, return_assistant_tokens_mask=True)
                mask = masked["assistant_masks"][: last + 1]
                case["n_assistant"] = len(mask) - mask[::-1].index(0) if 0 in mask else 0
                case["n_assistant"] = last + 1 - case["n_assistant"]
            yield case


def main():
    chat_template_utils.datetime = FixedDate
    if len(sys.argv) == 3:
        tokenizer = Tokenizer.from_file(str(pathlib.Path(sys.argv[1]) / "tokenizer.json"))
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        bos = next((token for token in ("<s>", "<|begin_of_text|>") if token in added), None)
        for name, (source, _, eos, end) in TEMPLATES.items():
            TEMPLATES[name] = (source, bos, end if eos not in added else eos, end)
        known = [name for name, (*_, end) in TEMPLATES.items() if end in added]
        cases = list(cases_of("real", tokenizer, known, keep_text=False))
        pathlib.Path(sys.argv[2]).write_text(json.dumps({"cases": cases}, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    cases, tokenizers = [], small_tokenizers()
    for name, tokenizer in tokenizers.items():
        cases += cases_of(name, tokenizer, TEMPLATES, keep_text=True)
    golden = {
        "date": DATE.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "templates": {n: {"source": s, "bos": b, "eos": e} for n, (s, b, e, _) in TEMPLATES.items()},
        "tokenizers": {n: json.loads(t.to_str()) for n, t in tokenizers.items()},
        "cases": cases,
    }
    path = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "chat.json"
    path.write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
