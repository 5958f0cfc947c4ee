"""Rows of every shape of data as TRL, transformers and LLaMA-Factory prepare them
-> tests/golden/shapes/. Needs torch, transformers, trl, datasets, peft, tokenizers, gguf and, of
llamafactory, the files alone (`pip install --no-deps llamafactory omegaconf`).

    python scripts/golden/shapes.py .models             # every shape
    python scripts/golden/shapes.py .models hh kto      # these

`NAME.jsonl.gz` has 200 rows of a shape, `NAME.json` what the programs make of them. README.md says
which ids are labels, and where the programs differ. Without the files of `make fetch-smollm2
fetch-tokenizers` in the directory named, those tokenizers are left out.
"""

import gzip
import json
import sys
from pathlib import Path

import shape_programs as programs
import shape_rows
import shape_templates as templates
import tokens
from shape_files import cut, digests, spans_of, written
from tokenizers import Tokenizer

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
N_FULL = 21
PLAIN = ("prompt-completion", "preference", "kto")
ROLES = {"human": "user", "user": "user", "system": "system"}
ROLES |= {n: "assistant" for n in ("gpt", "assistant", "chatgpt", "bing", "bard", "model")}
# A template whose tags need the rows of one shape only.
RARE = "chatml-content"


def tagged(tokenizer, source, records, bos, eos):
    """Ids and spans by generation tags: TRL's labels, which are transformers' mask."""
    fast = templates.with_template(tokenizer, source, bos, eos)
    made = programs.sft(fast, [{"messages": m} for m in records], assistant_only=True)
    for messages, (ids, labels) in zip(records, made):
        whole = fast.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        assert whole["input_ids"] == ids
        assert whole["assistant_masks"] == [int(label != -100) for label in labels]
    return [(ids, spans_of(labels)) for ids, labels in made]


class Family:
    """A tokenizer with a family of templates."""

    def __init__(self, tokenizer, name, bos, eos):
        self.tokenizer, self.name, self.bos, self.eos = tokenizer, name, bos, eos
        self.tight, self.wide, end = templates.FAMILIES[name]
        self.end = tokenizer.token_to_id(end)
        self.plain = templates.with_template(tokenizer, templates.untagged(self.tight), bos, eos)

    def demonstrations(self, records):
        """Every row: ids, spans of the answers, the tags' own spans, what follows. And the rows
        with an answer whose prompt alone has other ids."""
        rows, elsewhere = [], {"last": [], "all": []}
        tight = tagged(self.tokenizer, self.tight, records, self.bos, self.eos)
        wide = tagged(self.tokenizer, self.wide, records, self.bos, self.eos)
        pairs = [{"prompt": m[:-1], "completion": m[-1:]} for m in records]
        last = programs.sft(self.plain, pairs, assistant_only=False)
        by_kto = programs.kto(self.plain, [p | {"label": True} for p in pairs])
        for at, messages in enumerate(records):
            (ids, spans), (same, tags), (again, labels) = tight[at], wide[at], last[at]
            assert ids == same == again == sum(by_kto[at], []), messages
            [[begin, end]] = spans_of(labels)
            assert len(by_kto[at][0]) == begin and end == len(ids)
            known, after = cut(ids, self.end)
            assert len(spans) == sum(m["role"] == "assistant" for m in messages)
            assert spans[-1][1] == len(known), (spans, len(known))
            turns = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
            prompts = [programs.prompt_ids(self.plain, messages[:i]) for i in turns]
            alike = [ids[:a] == prompt for (a, _), prompt in zip(spans, prompts)]
            assert alike[-1] == (prompts[-1] == ids[:begin])
            elsewhere["last"] += [] if alike[-1] else [at]
            elsewhere["all"] += [] if all(alike) else [at]
            rows.append({"ids": known, "answers": spans, "tags": tags, "after": after})
        return rows, elsewhere

    def preferences(self, records):
        rows, elsewhere = [], {"pair": []}
        given = [
            {"prompt": prompt}
            | {name: [shape_rows.say("assistant", text)] for name, text in answers.items()}
            for prompt, *texts in records
            for answers in [dict(zip(("chosen", "rejected"), texts))]
        ]
        for at, (prompt, *answers) in enumerate(programs.dpo(self.plain, given)):
            if prompt != programs.prompt_ids(self.plain, records[at][0]):
                elsewhere["pair"].append(at)
            (chosen, after), (rejected, _) = (cut(ids, self.end) for ids in answers)
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "after": after})
        return rows, elsewhere

    def prompts(self, records):
        return [{"prompt": programs.prompt_ids(self.plain, messages)} for messages in records], {}


class Plain:
    """TRL's preparation of texts without a template: BOS, prompt, answer, EOS."""

    def __init__(self, tokenizer):
        self.tokenizer = templates.with_template(tokenizer, None, templates.BOS, templates.EOS)
        self.end = tokenizer.token_to_id(templates.EOS)

    def elsewhere(self, prompt, text):
        return self.tokenizer(text).input_ids != prompt

    def demonstrations(self, rows):
        given = [{k: row[k] for k in ("prompt", "completion")} for row in rows]
        made, elsewhere = [], {"last": [], "all": []}
        for at, (ids, labels) in enumerate(
            programs.sft(self.tokenizer, given, assistant_only=False)
        ):
            [[begin, end]] = spans_of(labels)
            assert end == len(ids) and ids[-1] == self.end
            if self.elsewhere(ids[:begin], rows[at]["prompt"]):
                elsewhere["last"].append(at)
                elsewhere["all"].append(at)
            made.append(
                {"ids": ids, "answers": [[begin, end]], "tags": [[begin, end]], "after": []}
            )
        return made, elsewhere

    def preferences(self, rows):
        made, elsewhere = [], {"pair": []}
        for at, (prompt, chosen, rejected) in enumerate(programs.dpo(self.tokenizer, rows)):
            if self.elsewhere(prompt, rows[at]["prompt"]):
                elsewhere["pair"].append(at)
            made.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "after": []})
        return made, elsewhere


def check_readers(shape, row, records):
    """Other programs read from the row what the golden file is made of."""
    if shape == "sharegpt":
        assert programs.trl_sharegpt(row, ROLES) == records[0], row
        names = {m["from"] for m in row["conversations"]}
        tags = {"user_tag": next(n for n in names if ROLES[n] == "user")}
        tags["assistant_tag"] = next(n for n in names if ROLES[n] == "assistant")
        before, answers = programs.by_llama_factory(row, "sharegpt", **tags)
        messages = [m for m in records[0] if m["content"] or m["role"] != "system"]
        assert before == messages[:-1] and answers == [messages[-1]["content"]], row
    if shape in ("alpaca-history", "llama-factory-preference"):
        ranking = shape == "llama-factory-preference"
        columns = {"history": "history" if "history" in row else None}
        columns |= {"query": "input" if "input" in row else None, "ranking": ranking}
        columns |= dict(chosen="chosen", rejected="rejected", response=None) if ranking else {}
        before, answers = programs.by_llama_factory(row, "alpaca", **columns)
        if row.get("input"):
            # It puts one line break between instruction and input, Wick a blank line.
            assert before[-1]["content"] == row["instruction"] + "\n" + row["input"]
            before[-1]["content"] = row["instruction"] + "\n\n" + row["input"]
        prompt = records[0][0] if ranking else records[0][:-1]
        known = list(records[0][1:]) if ranking else [records[0][-1]["content"]]
        assert (before, answers) == (prompt, known), row
    if shape == "llama-factory-sharegpt-preference":
        columns = dict(ranking=True, chosen="chosen", rejected="rejected")
        before, answers = programs.by_llama_factory(row, "sharegpt", **columns)
        assert (before, *answers) == records[0], row
    if shape in ("preference-implicit", "preference-messages", "ultrafeedback-binarized"):
        assert programs.trl_pair(row) == records[0], row
    if shape in ("prompt-completion-messages", "kto-messages"):
        assert row["prompt"] + row["completion"] == records[0], row


def check_parts(tokenizer, rows):
    """A template that joins parts gives the ids of the joined texts."""
    joined = templates.with_template(tokenizer, templates.CHATML, templates.BOS, "<|im_end|>")
    parts = templates.with_template(tokenizer, templates.CHATML_PARTS, templates.BOS, "<|im_end|>")
    given = [
        [{"messages": row["messages"]} for row, _ in rows],
        [{"messages": r[0]} for _, r in rows],
    ]
    one, other = (programs.sft(t, g, assistant_only=True) for t, g in zip((parts, joined), given))
    assert one == other


def families(models, small):
    """Name of a tokenizer -> its families."""
    usual = [name for name in templates.FAMILIES if name != RARE]
    made = {"small": [Family(small, n, templates.BOS, templates.FAMILIES[n][2]) for n in usual]}
    others = json.loads((GOLDEN / "chat.json").read_text(encoding="utf-8"))["tokenizers"]
    sentencepiece = Tokenizer.from_str(json.dumps(others["prepend"]))
    made["prepend"] = [Family(sentencepiece, "chatml", "<s>", "<|im_end|>")]
    if (models / "tokenizers" / "qwen2_5").exists():
        tokenizer = tokens.directory(models / "tokenizers" / "qwen2_5")
        made["qwen2_5"] = [Family(tokenizer, "chatml", None, "<|im_end|>")]
    if (models / "smollm2-135m-instruct.gguf").exists():
        tokenizer = tokens.smollm2(models)
        made["smollm2"] = [Family(tokenizer, n, None, "<|im_end|>") for n in ("chatml", "smollm3")]
    return made


def golden_of(shape, kind, rows, known):
    records = [record for _, row_records in rows for record in row_records]
    of = [at for at, (_, row_records) in enumerate(rows) for _ in row_records]
    golden = {
        "kind": kind,
        "n_rows": len(rows),
        "row_of_record": of if len(of) > len(rows) else None,
    }
    golden |= {"hashes": {}, "prefix_differs": {}, "full": []}
    golden = {k: v for k, v in golden.items() if v is not None}
    for name, members in known.items():
        if shape in PLAIN and name == "small":
            members = [Plain(members[0].tokenizer), *members]
        if shape == "messages" and name == "small":
            first = members[0]
            members = [*members, Family(first.tokenizer, RARE, first.bos, first.eos)]
        for at, family in enumerate(members):
            is_plain = isinstance(family, Plain)
            label = f"{name} {'plain' if is_plain else family.name}"
            given = [row for row, _ in rows] if is_plain else records
            made, elsewhere = getattr(family, kind)(given)
            golden["hashes"][label] = digests(kind, made)
            if any(elsewhere.values()):
                golden["prefix_differs"][label] = elsewhere
            if name == "small":
                for row in range(at, N_FULL, len(members)):
                    full = {k: v for k, v in made[row].items() if v != made[row].get("answers")}
                    full |= {"answers": made[row]["answers"]} if "answers" in made[row] else {}
                    golden["full"].append({"record": row, "template": label} | full)
    return golden


def main():
    out = GOLDEN / "shapes"
    out.mkdir(exist_ok=True)
    made = {shape: shape_rows.rows_of(shape) for shape in shape_rows.SHAPES}
    texts = [m["content"] for _, [messages] in made["messages"] for m in messages]
    small = templates.small_tokenizer(texts)
    state = json.dumps(json.loads(small.to_str()), ensure_ascii=False)
    (out / "tokenizer.json").write_text(state + "\n", encoding="utf-8")
    templates.write(out)
    known = families(Path(sys.argv[1]), small)
    check_parts(small, made["messages-parts"])
    for shape, rows in made.items():
        if sys.argv[2:] and shape not in sys.argv[2:]:
            continue
        kind = shape_rows.SHAPES[shape][1]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row, _ in rows).encode()
        (out / f"{shape}.jsonl.gz").write_bytes(gzip.compress(lines, 9, mtime=0))
        for row, records in rows:
            check_readers(shape, row, records)
        golden = golden_of(shape, kind, rows, known)
        (out / f"{shape}.json").write_text(written(golden), encoding="utf-8")
        differing = golden["prefix_differs"].items()
        print(
            shape, {k: {of: len(rows) for of, rows in v.items()} for k, v in differing}, flush=True
        )


if __name__ == "__main__":
    main()
