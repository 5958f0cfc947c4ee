"""Golden advantages, losses and gradients of MA-PPO (tests/methods/ma_ppo/), written from the paper (arXiv 2410.02743), response by
response in float64, gradients by autograd. Needs torch.

    python scripts/golden/ma_ppo.py     # writes tests/golden/ma_ppo.json
"""

import json
from pathlib import Path

import torch

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
GEN = torch.Generator().manual_seed(11)
LENS = [7, 1, 12, 4, 2]
DEFAULTS = dict(
    termination="ngram", ngram=5, perplexity_early=False, last_alone=False, value_weights="equal", reward_sum="sum", ratio="token",
    kl_coef=0.05, eos_penalty=1.0, whiten_advantages=True, gamma=1.0, lam=0.95, clip=0.2, dual_clip=0.0, value_clip=0.2, vf_coef=0.1,
    entropy_coef=0.0,
)  # fmt: skip
CASES = [
    {},
    dict(ngram=2, value_weights="position", gamma=0.9),
    dict(ngram=3, ratio="macro", value_weights="last"),
    dict(ngram=3, ratio="macro_mean", entropy_coef=0.02, lam=1.0),
    dict(ngram=4, ratio="macro", dual_clip=1.2, whiten_advantages=False, gamma=0.8),
    dict(ngram=3, reward_sum="mean", last_alone=True, whiten_advantages=False),
    dict(reward_sum="mean", value_weights="position", termination="parsing"),
    dict(termination="whole", last_alone=True, reward_sum="mean"),
    dict(termination="whole", ratio="macro"),
    dict(termination="perplexity", ratio="macro"),
    dict(termination="perplexity", perplexity_early=True, last_alone=True, value_clip=0.0),
    dict(termination="parsing", ratio="macro_mean"),
]


def f32(x):
    """Values that float32 holds, as float64."""
    return x.float().double()


def rand(n):
    return torch.rand(n, generator=GEN, dtype=torch.float64)


def randn(n):
    return torch.randn(n, generator=GEN, dtype=torch.float64)


def response(i, n):
    old = f32(-3 * rand(n))
    values = f32(randn(n))
    return dict(
        logp_old=old, logp_ref=f32(old + 0.3 * randn(n)), values=values, entropy=f32(2 * rand(n)), logp=f32(old + 0.25 * randn(n)),
        new_values=f32(values + 0.3 * randn(n)), score=f32(1.5 * randn(1))[0], finished=i % 3 != 1,
        clause=[t == 0 or bool(rand(1)[0] < 0.4) for t in range(n)],
    )  # fmt: skip


def boundaries(c, row):
    """Offsets of the first tokens, in the manner of the paper's pseudo-code."""
    n = len(row["logp_old"])
    ppl = torch.exp(-row["logp_ref"])
    if c["termination"] == "ngram":
        at = set(range(0, n, c["ngram"]))
    elif c["termination"] == "parsing":
        at = {t for t in range(n) if row["clause"][t]}
    elif c["termination"] == "perplexity" and not c["perplexity_early"]:
        at = {t for t in range(1, n) if ppl[t] > ppl[t - 1]}
    elif c["termination"] == "perplexity":
        at = {t for t in range(n - 1) if ppl[t + 1] > ppl[t]}
    else:
        at = set()
    return sorted(at | {0} | ({n - 1} if c["last_alone"] else set()))


def macro_actions(c, row):
    at = boundaries(c, row) + [len(row["logp_old"])]
    return [list(range(a, b)) for a, b in zip(at, at[1:])]


def sigma(kind, n):
    if kind == "equal":
        w = [1.0] * n
    elif kind == "last":
        w = [0.0] * (n - 1) + [1.0]
    else:
        w = [1 / (i + 1) for i in range(n)]
    return torch.tensor([x / sum(w) for x in w], dtype=torch.float64)


def advantages(c, row):
    """Of each token, and its return: sums over the macro actions that follow, each discounted by the tokens before it."""
    rewards = -c["kl_coef"] * (row["logp_old"] - row["logp_ref"])
    rewards[-1] += row["score"] - (0 if row["finished"] else c["eos_penalty"])
    actions = macro_actions(c, row)
    r, v, d = [], [], []
    for a in actions:
        s = sigma(c["value_weights"], len(a))
        gammas = torch.tensor([c["gamma"] ** i for i in range(len(a))], dtype=torch.float64)
        r.append(((gammas if c["reward_sum"] == "sum" else s) * rewards[a]).sum())
        v.append((s * row["values"][a]).sum())
        d.append(c["gamma"] ** len(a))
    v.append(0.0)
    delta = [r[i] + d[i] * v[i + 1] - v[i] for i in range(len(actions))]
    adv, ret = [], []
    for i, a in enumerate(actions):
        total, weight = 0.0, 1.0
        for j in range(i, len(actions)):
            total = total + weight * delta[j]
            weight = weight * d[j] * c["lam"]
        adv += [total] * len(a)
        ret += [total + v[i]] * len(a)
    return torch.stack(adv), torch.stack(ret)


def case(rows, given):
    c = DEFAULTS | given
    both = [advantages(c, row) for row in rows]
    adv, ret = torch.cat([a for a, _ in both]), torch.cat([r for _, r in both])
    if c["whiten_advantages"]:
        adv = (adv - adv.mean()) / torch.sqrt(adv.var(unbiased=False) + 1e-8)
    whole = {k: torch.cat([row[k] for row in rows]) for k in ("logp_old", "values", "entropy", "logp", "new_values")}
    logp = whole["logp"].clone().requires_grad_()
    value = whole["new_values"].clone().requires_grad_()
    terms, start = [], 0
    for row in rows:
        groups = macro_actions(c, row) if c["ratio"] != "token" else [[t] for t in range(len(row["logp"]))]
        for g in groups:
            at = [start + t for t in g]
            x = (logp[at] - whole["logp_old"][at]).sum()
            rho = torch.exp(x / len(at) if c["ratio"] == "macro_mean" else x)
            a = adv[at[0]]
            term = torch.max(-a * rho, -a * rho.clamp(1 - c["clip"], 1 + c["clip"]))
            if c["dual_clip"] and a < 0:
                term = torch.min(term, -c["dual_clip"] * a)
            terms.append(term)
        start += len(row["logp"])
    policy = torch.stack(terms).mean()
    near = whole["values"] + (value - whole["values"]).clamp(-c["value_clip"], c["value_clip"])
    vf = (value - ret) ** 2
    vf = 0.5 * (torch.max(vf, (near - ret) ** 2) if c["value_clip"] else vf).mean()
    loss = policy + c["vf_coef"] * vf - c["entropy_coef"] * whole["entropy"].mean()
    loss.backward()
    starts = [t in boundaries(c, row) for row in rows for t in range(len(row["logp"]))]
    return dict(
        config=given, starts=starts, advantages=adv.tolist(), returns=ret.tolist(), loss=loss.item(), policy_loss=policy.item(),
        value_loss=vf.item(), grad_logp=logp.grad.tolist(), grad_values=value.grad.tolist(),
    )  # fmt: skip


def main():
    rows = [response(i, n) for i, n in enumerate(LENS)]
    columns = ("logp_old", "logp_ref", "values", "entropy", "logp", "new_values")
    batch = {k: [v for row in rows for v in row[k].tolist()] for k in columns}
    batch |= dict(lens=LENS, keys=list(range(len(LENS))), score=[row["score"].item() for row in rows])
    batch |= dict(finished=[row["finished"] for row in rows], clauses=[c for row in rows for c in row["clause"]])
    out = dict(batch=batch, cases=[case(rows, given) for given in CASES])
    (GOLDEN / "ma_ppo.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
