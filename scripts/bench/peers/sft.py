"""SFT steps by TRL's SFTTrainer with PEFT, on token ids and labels."""
import common
from common import job
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

clock, trained = common.Clock(), common.Trained()
data = Dataset.from_list([{"input_ids": row["ids"], "labels": row["labels"]} for [row] in common.rows()])
trainer = common.in_order(SFTTrainer, lambda batch: trained.add_padded(batch["input_ids"], batch["attention_mask"], batch["labels"]))(
    model=AutoModelForCausalLM.from_pretrained(job["model"], dtype=common.dtype),
    args=SFTConfig(**common.settings(per_device_train_batch_size=job["batch"], max_length=job["max_len"])),
    train_dataset=data,
    processing_class=common.tokenizer(),
    peft_config=common.lora("CAUSAL_LM"),
    callbacks=[clock],
)
trainer.train()
common.answer(clock.secs, losses=common.losses(trainer), trained=trained.report(), checkpointing=trainer.args.gradient_checkpointing)
