"""RL steps by TRL's RLOOTrainer with PEFT: 4 samples a prompt, KL to the reference (the adapter off), reward by length."""
import time

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


def length(completion_ids, **_):
    return [min(len(ids) / job["new_tokens"], 1.0) for ids in completion_ids]


clock = WholeStep()
trainer = RLOOTrainer(
    model=AutoModelForCausalLM.from_pretrained(job["model"], dtype="float32"),
    reward_funcs=length,
    args=RLOOConfig(
        **common.settings(per_device_train_batch_size=job["batch"] * job["samples"]),
        num_generations=job["samples"], max_completion_length=job["new_tokens"], beta=0.05, temperature=1.0,
    ),
    train_dataset=Dataset.from_list([{"prompt": r["prompt"]} for r in common.rows()]),
    processing_class=common.tokenizer(),
    peft_config=common.lora("CAUSAL_LM"),
    callbacks=[clock],
)
trainer.train()
lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "completions/mean_length" in row]
tokens = [n * job["batch"] * job["samples"] for n in lengths]
common.answer(clock.secs, tokens=tokens, checkpointing=trainer.args.gradient_checkpointing)
