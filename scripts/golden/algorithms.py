"""Golden losses and gradients of PPO and ESRL (tests/algorithms/): both written from their papers on padded batches in
float64, gradients by autograd. Needs torch.

    python scripts/golden/algorithms.py     # writes tests/golden/algorithms.json
"""

import json
import math
from collections import deque
from pathlib import Path

import torch

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
GEN = torch.Generator().manual_seed(5)


def f32(x):
    """Values that float32 holds, as float64."""
    return x.float().double()


def noise(*shape, scale=1.0):
    return f32(scale * torch.randn(*shape, generator=GEN))


class Batch:
    def __init__(self, lens, keys):
        self.lens, self.keys = lens, keys
        r, t = len(lens), max(lens)
        self.mask = torch.arange(t)[None, :] < torch.tensor(lens)[:, None]
        self.logp_old = f32(-torch.rand(r, t, generator=GEN) * 3)
        self.logp_ref = f32(self.logp_old + 0.3 * torch.randn(r, t, generator=GEN))
        self.values = noise(r, t)
        self.entropy = f32(torch.rand(r, t, generator=GEN) * 2)
        self.logp = f32(self.logp_old + 0.25 * torch.randn(r, t, generator=GEN))
        self.new_values = f32(self.values + 0.3 * torch.randn(r, t, generator=GEN))
        self.score = noise(r, scale=1.5)
        self.finished = [i % 3 != 1 for i in range(r)]

    def flat(self, x):
        return x[self.mask].tolist()

    def record(self):
        flat = {n: self.flat(getattr(self, n)) for n in ("logp_old", "logp_ref", "values", "entropy", "logp", "new_values")}
        return dict(lens=self.lens, keys=self.keys, score=self.score.tolist(), finished=self.finished, **flat)


def shaped(batch, clip, penalty, replace):
    score = batch.score.clamp(-clip, clip) if clip else batch.score
    missing = torch.tensor([not f for f in batch.finished])
    return torch.where(missing, torch.full_like(score, -penalty) if replace else score - penalty, score)


def ppo(batch, config, given):
    m = batch.mask
    x = batch.logp_old - batch.logp_ref
    kl = {"k1": x, "k2": x**2 / 2, "k3": torch.exp(-x) - 1 + x, "abs": x.abs(), "positive": x.clamp(min=0)}
    rewards = -config["kl_coef"] * kl[config["kl_estimator"]]
    last = torch.tensor(batch.lens) - 1
    score = shaped(batch, config["score_clip"], config["eos_penalty"], config["eos_penalty_mode"] == "replace")
    rewards[torch.arange(len(last)), last] += score
    if config["whiten_rewards"]:
        r = rewards[m]
        rewards = (rewards - r.mean()) / torch.sqrt(r.var(unbiased=False) + 1e-8) + r.mean()
    rewards = rewards * m
    values = batch.values * m
    advantages, running = torch.zeros_like(rewards), torch.zeros(len(last)).double()
    for t in reversed(range(rewards.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else torch.zeros(len(last)).double()
        delta = rewards[:, t] + config["gamma"] * following - values[:, t]
        running = (delta + config["gamma"] * config["lam"] * running) * m[:, t]
        advantages[:, t] = running
    returns = advantages + values
    a = advantages[m]
    if config["whiten_advantages"]:
        advantages = (advantages - a.mean()) / torch.sqrt(a.var(unbiased=False) + 1e-8)
    logp = batch.logp.clone().requires_grad_()
    value = batch.new_values.clone().requires_grad_()
    entropy = batch.entropy.clone().requires_grad_()
    ratio = torch.exp(logp - batch.logp_old)
    pg = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - config["clip"], 1 + config["clip"]))
    if config["dual_clip"]:
        pg = torch.where(advantages < 0, torch.min(pg, -config["dual_clip"] * advantages), pg)
    near = batch.values + (value - batch.values).clamp(-config["value_clip"], config["value_clip"])
    vf = 0.5 * torch.max((value - returns) ** 2, (near - returns) ** 2)
    loss = pg[m].mean() + config["vf_coef"] * vf[m].mean() - config["entropy_coef"] * entropy[m].mean()
    loss.backward()
    return dict(
        config=given, batch=batch.record(), advantages=batch.flat(advantages), returns=batch.flat(returns), loss=loss.item(),
        policy_loss=pg[m].mean().item(), value_loss=vf[m].mean().item(),
        approxkl=(0.5 * (batch.logp - batch.logp_old)[m] ** 2).mean().item(),
        grad_logp=batch.flat(logp.grad), grad_values=batch.flat(value.grad),
    )  # fmt: skip


def esrl(batch, config, given, queue, memory, prompts):
    # Eq. 8 and 9
    cap = [memory[str(p)]["capability"] for p in prompts]
    if config["normalise"] == "min_max":
        cap = [(c - min(cap)) / (max(cap) - min(cap)) for c in cap]
    elif config["normalise"] == "sigmoid":
        cap = [1 / (1 + math.exp(-c)) for c in cap]
    k_max = config["k_max"]
    k = [math.ceil(k_max - config["beta"] * len(cap) * k_max * c / sum(cap)) for c in cap]
    k = [min(max(v, config["k_floor"]), k_max) for v in k]
    tau = [config["tau_min"] + v * (config["tau_max"] - config["tau_min"]) / k_max for v in k]
    # rewards less baseline
    kl = ((batch.logp_old - batch.logp_ref) * batch.mask).sum(1)
    rewards = shaped(batch, config["score_clip"], config["eos_penalty"], False) - config["kl_coef"] * kl
    fifo = deque(queue, maxlen=config["fifo"])
    fifo.extend(rewards.tolist())
    q = torch.tensor(list(fifo)).double()
    own = torch.tensor([memory[str(key)]["reward"] for key in batch.keys]).double()
    weight = rewards - q.mean() - config["prompt_baseline"] * (own - own.mean())
    if config["scale_rewards"]:
        weight = weight / q.std(unbiased=False)
    # Eq. 3 to 5
    logp = batch.logp.clone().requires_grad_()
    seq = (logp * batch.mask).sum(1)
    old = (batch.logp_old * batch.mask).sum(1)
    loss, n = 0.0, len(set(batch.keys))
    for key in dict.fromkeys(batch.keys):
        at = [i for i, other in enumerate(batch.keys) if other == key]
        if len(at) == 1:
            loss = loss - weight[at[0]] * seq[at[0]] / n
            continue
        z = config["alpha"] * seq[at]
        if config["length_normalise"]:
            lens = torch.tensor([batch.lens[i] for i in at]).double()
            z = z + config["alpha"] * (old[at] * lens.mean() / lens - old[at])
        p = torch.exp(z)
        mrt = -(p / p.sum() * weight[at]).sum()
        loss = loss + mrt / n / (config["alpha"] if config["mrt_scale_by_alpha"] else 1.0)
    loss.backward()
    return dict(
        config=given, batch=batch.record(), state=dict(fifo=queue, memory=memory), prompts=prompts, k=k, tau=tau,
        weight=weight.tolist(), baseline=q.mean().item(), loss=loss.item(), grad_logp=batch.flat(logp.grad),
    )  # fmt: skip


PPO = dict(
    kl_coef=0.05, kl_estimator="k1", score_clip=0.0, eos_penalty=1.0, eos_penalty_mode="subtract", whiten_rewards=False,
    whiten_advantages=True, gamma=1.0, lam=0.95, clip=0.2, dual_clip=0.0, value_clip=0.2, vf_coef=0.1, entropy_coef=0.0,
)  # fmt: skip
PAPER = dict(
    mode="paper", k_max=4, k_floor=1, beta=0.3, tau_min=0.6, tau_max=1.0, alpha=0.005, mrt_scale_by_alpha=False,
    length_normalise=False, normalise="sigmoid", fifo=1000, prompt_baseline=0.0, scale_rewards=False, kl_coef=0.0,
    score_clip=0.0, eos_penalty=0.0,
)  # fmt: skip
CORRECTED = PAPER | dict(
    mode="corrected", mrt_scale_by_alpha=True, length_normalise=True, normalise="min_max", prompt_baseline=0.5,
    scale_rewards=True, kl_coef=0.05, eos_penalty=1.0,
)  # fmt: skip


def main():
    lens = [3, 1, 6, 4, 5]
    cases = []
    for given in [
        {},
        dict(kl_estimator="k3", kl_coef=0.3, score_clip=1.0, eos_penalty_mode="replace", eos_penalty=2.0, gamma=0.97, lam=0.8),
        dict(whiten_rewards=True, whiten_advantages=False, kl_estimator="positive", dual_clip=1.1, entropy_coef=0.01, vf_coef=1.0),
    ]:
        cases.append(ppo(Batch(lens, list(range(5))), PPO | given, given))
    keys = [7, 7, 7, 8, 9, 9, 2**63 + 1]
    lens = [3, 1, 6, 4, 5, 2, 3]
    prompts = [7, 8, 9, 2**63 + 1]
    memory = {str(p): dict(capability=c, reward=r) for p, c, r in zip(prompts, [-1.0, 1.5, 0.25, 0.5], [0.5, -0.5, 1.0, 0.0])}
    queue = [0.5, -1.0, 2.0]
    runs = []
    for defaults, given in [
        (PAPER, dict(mode="paper")),
        (PAPER, dict(mode="paper", alpha=1.0, fifo=5, score_clip=1.0)),
        (CORRECTED, dict(mode="corrected")),
        (CORRECTED, dict(mode="corrected", alpha=0.3, k_max=8, beta=0.4, tau_min=0.8, tau_max=1.2)),
    ]:
        runs.append(esrl(Batch(lens, keys), defaults | given, given, queue, memory, prompts))
    path = GOLDEN / "algorithms.json"
    path.write_text(json.dumps(dict(ppo=cases, esrl=runs)) + "\n")
    print(path.stat().st_size, [r["k"] for r in runs])


if __name__ == "__main__":
    main()
