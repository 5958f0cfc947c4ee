"""Golden values of the optimiser and the schedules (tests/train/). Needs torch, transformers, safetensors.

    python scripts/golden/train.py        # writes tests/golden/adamw.safetensors and tests/golden/schedules.json

adamw.safetensors: three parameters (`w` decayed; `input_layernorm.weight`, `q_proj.bias` not), their gradients and their
values after each of ten steps of torch.optim.AdamW with clip_grad_norm_(1.0) under a cosine schedule with 2 warm-up steps.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
STEPS, WARMUP, LR, DECAY = 10, 2, 3e-2, 0.1


def adamw():
    gen = torch.Generator().manual_seed(7)
    shapes = {"w": (3, 5), "input_layernorm.weight": (5,), "q_proj.bias": (3,)}
    params = {n: torch.nn.Parameter(torch.randn(s, generator=gen)) for n, s in shapes.items()}
    decayed = [p for n, p in params.items() if n == "w"]
    others = [p for n, p in params.items() if n != "w"]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    out = {f"{n}.start": p.detach().clone() for n, p in params.items()}
    norms = []
    for step in range(STEPS):
        size = 0.05 if step % 3 == 0 else 1.0  # some steps below the clipping norm
        for name, p in params.items():
            p.grad = size * torch.randn(p.shape, generator=gen)
            out[f"{name}.grad.{step}"] = p.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), 1.0))
        optimizer.step()
        schedule.step()
        for name, p in params.items():
            out[f"{name}.after.{step}"] = p.detach().clone()
    out["norms"] = torch.stack(norms)
    save_file(out, GOLDEN / "adamw.safetensors")


def schedules():
    cases = []
    for name, make in {
        "constant": lambda o, w, t: get_constant_schedule_with_warmup(o, w),
        "linear": get_linear_schedule_with_warmup,
        "cosine": get_cosine_schedule_with_warmup,
    }.items():
        for warmup, total in [(0, 7), (3, 12), (5, 5), (1, 1)]:
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = make(optimizer, warmup, total)
            factors = []
            for _ in range(total):
                factors.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            cases.append({"schedule": name, "warmup": warmup, "total": total, "factors": factors})
    (GOLDEN / "schedules.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    adamw()
    schedules()
