"""Golden values of Qwen2.5-Coder-0.5B-Instruct from its GGUF file. Needs torch, transformers, gguf.

    python scripts/golden/qwen.py .models/qwen2.5-coder-0.5b-instruct.gguf    # writes tests/golden/qwen2.5-0.5b.json

The model is dequantised to f32 by transformers. logits: for each text, at some positions, the eight largest logits (ids
and values) and the log of the sum of exponentials over the vocabulary. chat: messages, the text and ids of their prompt
under the model's own chat template, and the next 32 ids under greedy decoding (fewer where the end came first; the end
is included) with the smallest lead of a chosen logit over the second. The repetition penalty of generation_config.json
is not in the file, so there is none.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "qwen2.5-0.5b.json"
TEXTS = [
    "The quick brown fox jumps over the lazy dog. In 1492, Columbus sailed the ocean blue, and then",
    'def mean(xs):\n    """The arithmetic mean."""\n    if not xs:\n        raise ValueError("empty")\n    return',
    "Der Baum vor dem Haus ist \u00e4lter als das Haus; \u6811\u6bd4\u623f\u5b50\u8001\u3002 \u0414\u0435\u0440\u0435\u0432\u043e",
]
USER = {"role": "user", "content": "What is the capital of France?"}
CHATS = [
    [USER],
    [{"role": "user", "content": "Write a Python function that reverses a string."}],
    [
        {"role": "system", "content": "Answer briefly.\nBe kind."},
        USER,
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of Japan? \U0001f5fe"},
    ],
]
TOP, NEW = 8, 32


def main():
    path = Path(sys.argv[1])
    load = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
    tokenizer = AutoTokenizer.from_pretrained(**load)
    model = AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32).eval()
    # the file has both matrices, quantised differently
    assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers", "gguf")}
    golden = {"versions": versions, "logits": [], "chat": []}
    with torch.no_grad():
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False)
            logits = model(torch.tensor([ids])).logits[0]
            rows = []
            for at in [0, 1, len(ids) // 2, len(ids) - 1]:
                top = logits[at].topk(TOP)
                row = {"at": at, "ids": top.indices.tolist(), "values": top.values.tolist()}
                rows.append(row | {"lse": logits[at].logsumexp(-1).item()})
            golden["logits"].append({"text": text, "ids": ids, "rows": rows})
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        for messages in CHATS:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            ids = tokenizer.encode(text, add_special_tokens=False)
            out = model.generate(
                torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, eos_token_id=end, pad_token_id=end,
                repetition_penalty=1.0, output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
            new = out.sequences[0, len(ids) :].tolist()
            lead = min((two[0] - two[1]).item() for two in (step[0].topk(2).values for step in out.logits))
            row = {"messages": messages, "prompt": text, "ids": ids, "next": new, "lead": lead}
            golden["chat"].append(row | {"answer": tokenizer.decode(new)})
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
