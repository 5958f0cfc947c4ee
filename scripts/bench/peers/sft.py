"""SFT steps by TRL's SFTTrainer with PEFT: the loss on the response tokens."""
import common
from common import job
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

clock = common.Clock()
data = Dataset.from_list([{"prompt": r["prompt"], "completion": r["response"]} for r in common.rows()])
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(job["model"], dtype="float32"),
    args=SFTConfig(**common.settings(per_device_train_batch_size=job["batch"], max_length=job["max_len"])),
    train_dataset=data,
    processing_class=common.tokenizer(),
    peft_config=common.lora("CAUSAL_LM"),
    callbacks=[clock],
)
trainer.train()
losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
common.answer(clock.secs, losses=losses, checkpointing=trainer.args.gradient_checkpointing)
