"""Rows with tools as transformers prepares them -> tests/golden/shapes/tools*.json. TRL gives
`messages` and `tools` to the same `apply_chat_template`. Needs torch, transformers, tokenizers and
gguf, of trl the files alone (`pip install --no-deps trl`): a released template of Qwen2.5 lies
among them; and the files of `make fetch-smollm2 fetch-tokenizers` in the directory named.

    python scripts/golden/tool_shapes.py .models
"""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import shape_templates as templates
import shape_tools
import tokens
from shape_files import cut, digests, spans_of, written
from tokenizers import Tokenizer

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
N_FULL = 21


def check_qwen(rows):
    """Our text of Qwen2.5's template is that of the released one."""
    root = Path(importlib.util.find_spec("trl").origin).parent
    released = (root / "chat_templates" / "qwen2_5.jinja").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(GOLDEN / "shapes" / "tokenizer.json"))
    ours = templates.untagged(templates.QWEN)
    both = [templates.with_template(tokenizer, s, None, "<|im_end|>") for s in (ours, released)]
    for _, (tools, messages) in rows:
        for n in range(1, len(messages) + 1):
            settings = dict(tools=tools, tokenize=False, add_generation_prompt=n < len(messages))
            one, other = (t.apply_chat_template(messages[:n], **settings) for t in both)
            assert one == other, (one, other)


def made_of(fast, plain, record):
    """Ids, spans of the answers and what follows; and for each answer whether the ids of its prompt
    begin them. `fast` has a template with generation tags, `plain` the same without."""
    tools, messages = record
    given = dict(tools=tools, return_dict=True)
    whole = fast.apply_chat_template(messages, return_assistant_tokens_mask=True, **given)
    ids = whole["input_ids"]
    assert plain.apply_chat_template(messages, **given)["input_ids"] == ids
    spans = spans_of([0 if of_answer else -100 for of_answer in whole["assistant_masks"]])
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    assert len(spans) == len(turns), messages
    given |= dict(add_generation_prompt=True)
    prompts = [plain.apply_chat_template(messages[:i], **given)["input_ids"] for i in turns]
    alike = [ids[:begin] == prompt for (begin, _), prompt in zip(spans, prompts)]
    known, after = cut(ids, plain.eos_token_id)
    assert spans[-1][1] == len(known)
    return {"ids": known, "answers": spans, "tags": spans, "after": after}, alike


def golden_of(rows, tokenizers):
    golden = {"kind": "demonstrations", "n_rows": len(rows)}
    golden |= {"hashes": {}, "prefix_differs": {}, "full": []}
    for at, (tokenizer, name) in enumerate((t, n) for t in tokenizers for n in tokenizers[t][1]):
        fast, members, bos = tokenizers[tokenizer]
        label = f"{tokenizer} {name}"
        tagged, _, end = templates.TOOL_FAMILIES[name]
        sources = tagged, templates.untagged(tagged)
        both = [templates.with_template(fast, source, bos, end) for source in sources]
        made = [made_of(*both, record) for _, record in rows]
        golden["hashes"][label] = digests("demonstrations", [row for row, _ in made])
        last = [at for at, (_, alike) in enumerate(made) if not alike[-1]]
        every = [at for at, (_, alike) in enumerate(made) if not all(alike)]
        if every:
            golden["prefix_differs"][label] = {"last": last, "all": every}
        if tokenizer == "small":
            for row in range(at, N_FULL, len(members)):
                full = {k: v for k, v in made[row][0].items() if k != "tags"}
                golden["full"].append({"record": row, "template": label} | full)
    return golden


def main():
    out = GOLDEN / "shapes"
    templates.write(out)
    others = json.loads((GOLDEN / "chat.json").read_text(encoding="utf-8"))["tokenizers"]
    small = Tokenizer.from_file(str(out / "tokenizer.json"))
    models = Path(sys.argv[1])
    qwen = tokens.directory(models / "tokenizers" / "qwen2_5")
    tokenizers = {
        "small": (small, list(templates.TOOL_FAMILIES), templates.BOS),
        "prepend": (Tokenizer.from_str(json.dumps(others["prepend"])), ["qwen2.5"], "<s>"),
        "qwen2_5": (qwen, ["qwen2.5"], None),
        "smollm2": (tokens.smollm2(models), ["qwen2.5"], None),
    }
    for shape in shape_tools.SHAPES:
        rows = shape_tools.rows_of(shape)
        check_qwen(rows)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row, _ in rows).encode()
        (out / f"{shape}.jsonl.gz").write_bytes(gzip.compress(lines, 9, mtime=0))
        golden = golden_of(rows, tokenizers)
        (out / f"{shape}.json").write_text(written(golden), encoding="utf-8")
        differing = golden["prefix_differs"].items()
        print(shape, {k: {of: len(n) for of, n in v.items()} for k, v in differing}, flush=True)


if __name__ == "__main__":
    main()
