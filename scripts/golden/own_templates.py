"""Prompts of real models' own chat templates, by transformers -> tests/golden/chat-own.json. Needs transformers.

    python scripts/golden/own_templates.py .models/tokenizers

Of each directory whose tokenizer_config.json has a template: the text and ids of three prompts, on the date of chat.py.
"""

import json
import sys
from pathlib import Path

import transformers.utils.chat_template_utils as chat_template_utils
from chat import DATE, FixedDate
from transformers import PreTrainedTokenizerFast

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "chat-own.json"
USER = {"role": "user", "content": "What is the capital of France?"}
SYSTEM = {"role": "system", "content": "Answer briefly.\nBe kind."}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nParis."}
CHATS = [
    [USER],
    [SYSTEM, USER, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": " And of Japan? \U0001f5fe\n"}],
    [USER, THOUGHT, {"role": "user", "content": "<|im_end|> \"x\" 'y' <b>&amp;</b> \\n"}],
]


def content(token):
    return token["content"] if isinstance(token, dict) else token


def main():
    chat_template_utils.datetime = FixedDate
    golden = {"date": DATE.strftime("%Y-%m-%dT%H:%M:%SZ"), "messages": CHATS, "prompts": {}}
    for path in sorted(Path(sys.argv[1]).iterdir()):
        config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
        if "chat_template" not in config:
            continue
        names = {name: content(config[name]) for name in ("bos_token", "eos_token")}
        file = str(path / "tokenizer.json")
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, chat_template=config["chat_template"], **names)
        texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in CHATS]
        ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        golden["prompts"][path.name] = [{"text": text, "ids": row} for text, row in zip(texts, ids)]
    OUT.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
