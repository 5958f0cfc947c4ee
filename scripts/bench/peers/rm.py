"""Reward-model steps by TRL's RewardTrainer with PEFT, on token ids."""
import common
from common import job
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

clock, trained = common.Clock(), common.Trained()


def record(batch):
    """The batch has all chosen answers first; a pair is recorded after the other."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    n = len(ids) // 2
    for pair in range(n):
        trained.add_padded(ids[pair::n], mask[pair::n])


tok = common.tokenizer()
model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=1, dtype=common.dtype)
model.config.pad_token_id = tok.pad_token_id
data = Dataset.from_list([{"chosen_ids": chosen["ids"], "rejected_ids": rejected["ids"]} for chosen, rejected in common.rows()])
trainer = common.in_order(RewardTrainer, record)(
    model=model,
    args=RewardConfig(**common.settings(per_device_train_batch_size=job["batch"], max_length=job["max_len"])),
    train_dataset=data,
    processing_class=tok,
    peft_config=common.lora("SEQ_CLS"),
    callbacks=[clock],
)
trainer.train()
common.answer(clock.secs, losses=common.losses(trainer), trained=trained.report(), checkpointing=trainer.args.gradient_checkpointing)
