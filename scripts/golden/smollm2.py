"""Golden values of SmolLM2-135M-Instruct from its GGUF file. Needs torch, transformers, gguf.

    python scripts/golden/smollm2.py PATH/SmolLM2-135M-Instruct.Q4_1.gguf        # writes tests/golden/smollm2.json

The model is dequantised to f32 by transformers. tokens: strings and their ids, no special tokens added. logits: for a
text, at some positions, the eight largest logits (ids and values) and the log of the sum of exponentials over the
vocabulary. chat: a user's message, the text and ids of its prompt under the model's own chat template, and the next 24
ids under greedy decoding (fewer where the end came first; the end is included).
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "smollm2.json"
STRINGS = [
    "Hello, world!",
    "I'm sure they'll say it's 3.14159, or 42% of 1,234,567.",
    "  two leading spaces, trailing ones  ",
    "tabs\tand\n\nnewlines\r\n  indented",
    "na\u00efve caf\u00e9 \u2014 \u4f60\u597d, \u043c\u0438\u0440! \U0001f980",
    "e\u0301 is not \u00e9",
    "def f(x):\n    return x ** 2  # squared\n",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "a<|endoftext|>b < |im_end| >",
    "### Instruction:\nName 3 fruits.\n\n### Response:",
    "WHAT'S THE DEAL? We've been they'Re don't",
    "\u00a0non-breaking\u2003em space",
    "x" * 40,
    "",
]
PROMPTS = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "List three primary colours.",
    "What is 12 + 30?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Hamlet?",
    "Give me a recipe for tea in two steps.",
    "Is the sun a star? Answer yes or no.",
]


def main():
    path = Path(sys.argv[1])
    load = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
    tokenizer = AutoTokenizer.from_pretrained(**load)
    model = AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32).eval()
    golden = {"tokens": [], "logits": [], "chat": []}
    for text in STRINGS:
        golden["tokens"].append({"text": text, "ids": tokenizer.encode(text, add_special_tokens=False)})

    text = "The quick brown fox jumps over the lazy dog. In 1492, Columbus sailed the ocean blue, and then"
    ids = tokenizer.encode(text, add_special_tokens=False)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    for at in [0, 1, 7, 15, len(ids) - 1]:
        top = logits[at].topk(8)
        row = {"at": at, "ids": top.indices.tolist(), "values": top.values.tolist()}
        golden["logits"].append(row | {"lse": logits[at].logsumexp(-1).item()})
    golden["logits"] = {"text": text, "ids": ids, "rows": golden["logits"]}

    end = tokenizer.eos_token_id
    for prompt in PROMPTS:
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(text, add_special_tokens=False)
        out = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, eos_token_id=end, pad_token_id=end)
        new = out[0, len(ids) :].tolist()
        row = {"prompt": prompt, "text": text, "ids": ids, "next": new, "answer": tokenizer.decode(new)}
        golden["chat"].append(row)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
