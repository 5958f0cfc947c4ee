"""Reward-model steps by TRL's RewardTrainer with PEFT."""
import common
from common import job
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

clock = common.Clock()
tok = common.tokenizer()
model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=1, dtype="float32")
model.config.pad_token_id = tok.pad_token_id
data = Dataset.from_list([{key: r[key] for key in ("prompt", "chosen", "rejected")} for r in common.rows()])
trainer = RewardTrainer(
    model=model,
    args=RewardConfig(**common.settings(per_device_train_batch_size=job["batch"], max_length=job["max_len"])),
    train_dataset=data,
    processing_class=tok,
    peft_config=common.lora("SEQ_CLS"),
    callbacks=[clock],
)
trainer.train()
losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
common.answer(clock.secs, losses=losses, checkpointing=trainer.args.gradient_checkpointing)
