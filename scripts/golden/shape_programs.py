"""Other programs' readers and preparations, called as they are: TRL's trainers, TRL's and
LLaMA-Factory's conversions of rows. Used by shapes.py.

TRL's `_prepare_dataset` are methods of trainers; they are called on a stand-in that has the
settings which they read, with a data set that yields Python objects, so no Arrow schema adds
fields. Of LLaMA-Factory only `data.converter` is imported, without the package around it.
"""

import contextlib
import copy
import functools
import importlib.util
import io
import sys
import types
from pathlib import Path

from datasets import IterableDataset
from trl import DPOTrainer, KTOTrainer, RewardTrainer, SFTTrainer
from trl.data_utils import apply_chat_template, maybe_convert_to_chatml, maybe_extract_prompt

SETTINGS = dict(
    dataset_num_proc=None,
    dataset_text_field="text",
    max_length=None,
    shuffle_dataset=False,
    truncation_mode="keep_start",
)


def prepared(trainer, tokenizer, rows, own=(), **settings):
    """The rows after a TRL trainer's own preparation."""
    args = types.SimpleNamespace(**SETTINGS, **settings)
    alone = types.SimpleNamespace(_tokenizer=tokenizer, chat_template=None, **dict(own))
    if trainer is KTOTrainer:
        alone.calculate_KL = False
    data = IterableDataset.from_generator(lambda: (copy.deepcopy(row) for row in rows))
    given = dict(dataset=data, processing_class=tokenizer, args=args, dataset_name="train")
    if trainer is SFTTrainer:
        given |= dict(packing=False, formatting_func=None)
    with contextlib.redirect_stderr(io.StringIO()):
        return list(trainer._prepare_dataset(alone, **given))


def sft(tokenizer, rows, assistant_only):
    """Ids and labels of messages, or of prompt and completion."""
    settings = dict(own={"completion_only_loss": True}, assistant_only_loss=assistant_only)
    made = prepared(SFTTrainer, tokenizer, rows, **settings)
    return [(row["input_ids"], row["labels"]) for row in made]


def dpo(tokenizer, rows):
    """Ids of prompt, chosen and rejected. RewardTrainer's whole sequences are the same."""
    rows = [{k: row[k] for k in ("prompt", "chosen", "rejected") if k in row} for row in rows]
    made = prepared(DPOTrainer, tokenizer, rows)
    made = [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in made]
    rewarded = prepared(RewardTrainer, tokenizer, rows)
    rewarded = [(row["chosen_ids"], row["rejected_ids"]) for row in rewarded]
    assert rewarded == [(p + c, p + r) for p, c, r in made]
    return made


def kto(tokenizer, rows):
    """Ids of prompt and completion."""
    made = prepared(KTOTrainer, tokenizer, rows)
    return [(row["prompt_ids"], row["completion_ids"]) for row in made]


def prompt_ids(tokenizer, messages):
    """By TRL: the text of a prompt, and its ids; by transformers: the same ids."""
    text = apply_chat_template({"prompt": messages}, tokenizer)["prompt"]
    ids = tokenizer(text, add_special_tokens=False).input_ids
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    assert ids == whole["input_ids"]
    return ids


# Rows by other programs' readers.


def trl_sharegpt(row, roles):
    """TRL renames the fields and leaves the names of roles as they are; `system` is not read."""
    made = maybe_convert_to_chatml(copy.deepcopy({"conversations": row["conversations"]}))
    made = [{"role": roles[m["role"]], "content": m["content"]} for m in made["messages"]]
    text = row.get("system")
    return [{"role": "system", "content": text}, *made] if text else made


def trl_pair(row):
    """Prompt, chosen and rejected by TRL's rule: what both begin with is the prompt."""
    made = maybe_extract_prompt(copy.deepcopy(row))
    (one,), (other,) = made["chosen"], made["rejected"]
    return made["prompt"], one["content"], other["content"]


@functools.cache
def llama_factory():
    root = Path(importlib.util.find_spec("llamafactory").origin).parent
    for name in ("llamafactory", "llamafactory.data", "llamafactory.extras"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules.setdefault(name, module)
    from llamafactory.data import converter, parser

    return converter, parser


def by_llama_factory(row, formatting, **columns):
    """A row's messages before the answers, and the answers."""
    converter, parser = llama_factory()
    columns["system"] = "system" if "system" in row else None
    attr = parser.DatasetAttr("file", "made", formatting=formatting, **columns)
    kinds = {
        "alpaca": converter.AlpacaDatasetConverter,
        "sharegpt": converter.SharegptDatasetConverter,
    }
    made = kinds[formatting](attr, None)(row)
    first = [{"role": "system", "content": made["_system"]}] if made["_system"] else []
    return first + made["_prompt"], [message["content"] for message in made["_response"]]
