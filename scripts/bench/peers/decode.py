"""Greedy decoding by transformers' generate: a batch of prompts of one length, as many new tokens each."""
import time

import common
import torch
from common import job
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=common.dtype).eval()
torch.manual_seed(1)
ids = torch.randint(100, 40_000, (job["batch"], job["prompt_tokens"]))
secs = []
with torch.no_grad(), common.mixed_precision():
    for _ in range(job["steps"]):
        began = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=job["new_tokens"], min_new_tokens=job["new_tokens"], do_sample=False)
        secs.append(time.perf_counter() - began)
common.answer(secs, tokens=[job["batch"] * job["new_tokens"]] * job["steps"])
