"""RL steps by TRL's RLOOTrainer with PEFT, on the token ids of the prompts: 4 samples a prompt, KL to the reference (the adapter off), reward by length."""
import json, time

import common
from common import job
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import RLOOConfig, RLOOTrainer


class WholeStep(common.Clock):
    """A step lasts from the end of the step before: the trainer samples before its step begins."""

    def on_train_begin(self, *_, **__):
        self.began = time.perf_counter()

    def on_step_begin(self, *_, **__):
        pass

    def on_step_end(self, *args, **kwargs):
        super().on_step_end(*args, **kwargs)
        self.began = time.perf_counter()


class OnIds(RLOOTrainer):
    """Takes the text of a prompt as the JSON of its ids."""

    def _tokenize_prompts(self, prompts):
        ids = [json.loads(prompt) for prompt in prompts]
        for first in range(0, len(ids), job["samples"]):
            group = ids[first : first + job["samples"]]
            assert group == group[:1] * job["samples"], "the samples of a prompt are not side by side"
            trained.add(group[0])
        return ids, None, {}


def length(completion_ids, **_):
    return [min(len(ids) / job["new_tokens"], 1.0) for ids in completion_ids]


clock, trained = WholeStep(), common.Trained()
trainer = OnIds(
    model=AutoModelForCausalLM.from_pretrained(job["model"], dtype=common.dtype),
    reward_funcs=length,
    args=RLOOConfig(
        **common.settings(per_device_train_batch_size=job["batch"] * job["samples"]),
        num_generations=job["samples"], max_completion_length=job["new_tokens"], beta=0.05, temperature=1.0, shuffle_dataset=False,
    ),
    train_dataset=Dataset.from_list([{"prompt": json.dumps(row["ids"])} for [row] in common.rows()]),
    processing_class=common.tokenizer(),
    peft_config=common.lora("CAUSAL_LM"),
    callbacks=[clock],
)
trainer.train()
lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "completions/mean_length" in row]
tokens = [n * job["batch"] * job["samples"] for n in lengths]
common.answer(clock.secs, tokens=tokens, trained=trained.report(), checkpointing=trainer.args.gradient_checkpointing)
