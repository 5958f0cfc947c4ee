"""Golden losses and gradients of dpo, gold_p, gold_s, the a_lol family, rwr and rest (tests/methods/offline/): written from their
papers on padded batches in float64, gradients by autograd. dpo also by TRL's own loss code on the same numbers, which must agree to
1e-12 before anything is written. Needs torch, numpy and trl.

    python scripts/golden/offline.py     # writes tests/golden/offline.json

TRL's loss is DPOTrainer._compute_loss. It is called as it is, with a `self` that holds the settings and a model that answers with our
log-probs.
"""

import json
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from trl.trainer import dpo_trainer

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
GEN = torch.Generator().manual_seed(23)


def f32(x):
    """Values that float32 holds, as float64."""
    return x.float().double()


class Batch:
    def __init__(self, lens, keys):
        self.lens, self.keys = lens, keys
        r, t = len(lens), max(lens)
        self.len = torch.tensor(lens).double()
        self.mask = (torch.arange(t)[None, :] < torch.tensor(lens)[:, None]).double()
        self.logp_old = f32(-torch.rand(r, t, generator=GEN) * 3)
        self.logp_ref = f32(self.logp_old + 0.3 * torch.randn(r, t, generator=GEN).clamp(-2, 2)).clamp(max=-0.01)
        self.logp_ref = f32(self.logp_ref)
        self.logp = f32((self.logp_old + 0.4 * torch.randn(r, t, generator=GEN)).clamp(max=-0.01))
        self.score = f32(torch.rand(r, generator=GEN))
        self.value = f32(torch.rand(r, generator=GEN) * 0.6)

    def flat(self, x):
        return x[self.mask.bool()].tolist()

    def record(self):
        flat = {n: self.flat(getattr(self, n)) for n in ("logp_old", "logp_ref", "logp")}
        return dict(lens=self.lens, keys=self.keys, score=self.score.tolist(), value=self.value.tolist(), **flat)


def case(name, config, batch, loss_of):
    logp = batch.logp.clone().requires_grad_(True)
    loss = loss_of(batch, logp, **config)
    (grad,) = torch.autograd.grad(loss, logp)
    kind = "pairs" if name == "dpo" else "rows"
    return dict(name=name, config=config, batch=kind, loss=loss.item(), grad=batch.flat(grad))


# ---- dpo: rows are chosen, rejected, chosen, rejected, ...


def dpo(b, logp, beta=0.1, loss="sigmoid", label_smoothing=0.0, reference_free=False, length_average=False):
    total = (logp * b.mask).sum(1)
    ref = torch.zeros_like(total) if reference_free else (b.logp_ref * b.mask).sum(1)
    ratio = total - ref
    if length_average:
        ratio = ratio / b.len
    h = ratio[0::2] - ratio[1::2]
    if loss == "ipo":
        return ((h - 1 / (2 * beta)) ** 2).mean()
    s = label_smoothing
    return (-(1 - s) * F.logsigmoid(beta * h) - s * F.logsigmoid(-beta * h)).mean()


def trl_dpo(b, logp, kind, beta, label_smoothing=0.0):
    order = list(range(0, len(b.lens), 2)) + list(range(1, len(b.lens), 2))
    ids = torch.zeros(len(order), logp.shape[1] + 1).long()
    completion = torch.cat([torch.zeros(len(order), 1), b.mask[order]], 1).long()
    zeros = torch.zeros_like(logp)

    def model(answer):
        out = SimpleNamespace(
            log_probs=answer[order] * b.mask[order], entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )
        return lambda **_: out

    def same(x, **_):
        return x

    me = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same),
        aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=False, ref_model=model(b.logp_ref),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None), f_divergence_type="reverse_kl",
        loss_types=[kind], loss_weights=[1.0], beta=beta, label_smoothing=label_smoothing, use_weighting=False,
        _metrics=dict(train=defaultdict(list)), _total_train_tokens=0, _tp_size=1,
    )
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), completion_mask=completion)
    with (
        mock.patch.object(dpo_trainer, "disable_gradient_checkpointing", lambda *_: nullcontext()),
        mock.patch.object(dpo_trainer, "is_peft_model", lambda *_: False),
    ):
        loss = dpo_trainer.DPOTrainer._compute_loss(me, model(logp), inputs, False)
    return loss, {name: values[-1] for name, values in me._metrics["train"].items()}


def agree_with_trl(b):
    """Loss, gradient and metrics of `sigmoid`, and of `ipo`, which TRL averages over tokens."""
    found = {}
    for kind, ours in [("sigmoid", dict(beta=0.3)), ("ipo", dict(beta=0.3, loss="ipo", length_average=True))]:
        a, c = (b.logp.clone().requires_grad_(True) for _ in range(2))
        mine = dpo(b, a, **ours)
        theirs, metrics = trl_dpo(b, c, kind, 0.3)
        assert abs(mine.item() - theirs.item()) < 1e-12, (kind, mine, theirs)
        (ga,), (gc,) = torch.autograd.grad(mine, a), torch.autograd.grad(theirs, c)
        assert (ga - gc).abs().max() < 1e-12, kind
        found[kind] = metrics
    return found["sigmoid"]


# ---- gold


def gold(b, logp, prob, weight_min, reward_min, baseline=0.0, suffix=6, gamma=1.0):
    weight = b.logp_old.exp().clamp(weight_min, 1)
    reward = b.logp_ref.exp() if prob else torch.log(b.logp_ref.exp() + 1e-10) - baseline
    past = 1.0 if prob else 0.0 - baseline
    total = torch.zeros(())
    for i, n in enumerate(b.lens):
        for t in range(n):
            q = sum(
                gamma**j * max(reward_min, reward[i, t + j].item() if t + j < n else past) for j in range(suffix)
            )
            total = total - weight[i, t] * q * logp[i, t]
    return total / b.len.sum()


def gold_p(b, logp, weight_min=0.0, reward_min=1.0, baseline=-10.0, **more):
    return gold(b, logp, False, weight_min, reward_min, baseline, **more)


def gold_s(b, logp, weight_min=0.2, reward_min=0.1, **more):
    return gold(b, logp, True, weight_min, reward_min, **more)


# ---- the a_lol family


def a_lol(variant):
    def loss(b, logp, clip=0.9, kl_coef=0.1, weight_min=0.1):
        total, ref = (logp * b.mask).sum(1), (b.logp_ref * b.mask).sum(1)
        advantage = (b.score - b.value).clamp(min=0)
        low, high = max(1 - clip, 0), 1 + clip
        rho = (total - ref).detach().exp().clamp(low, high)
        rho_t = (logp - b.logp_ref).detach().exp().clamp(low, high)
        rows = {
            "a_lol": lambda: advantage * rho * -total,
            "a_lol_seq": lambda: advantage * (rho_t * -logp * b.mask).sum(1),
            "a_lol_ref_free": lambda: advantage * -total,
            "a_lol_kl": lambda: advantage * -total + kl_coef * (total - ref),
            "r_lol": lambda: b.score * rho * -total,
            "wbc": lambda: b.score * -total,
            "r_gold": lambda: b.score * (logp.detach().exp().clamp(min=weight_min) * -logp * b.mask).sum(1),
        }[variant]()
        return rows.mean()

    return loss


# ---- rwr


def rwr(b, logp, beta=1.0, standardise=True, weight_max=20.0, normalise="all"):
    r = b.score
    if standardise:
        r = (r - r.mean()) / r.std(correction=0)
    total = (logp * b.mask).sum(1)
    most = weight_max if weight_max > 0 else float("inf")

    def weighed(at, centre):
        w = ((r[at] - centre) / beta).exp().clamp(max=most)
        return (w * total[at]).sum(), w.sum()

    everything = list(range(len(b.lens)))
    if normalise == "none":
        return -weighed(everything, 0.0)[0] / len(b.lens)
    groups = [everything] if normalise == "all" else [[i for i, k in enumerate(b.keys) if k == key] for key in sorted(set(b.keys))]
    sums = [weighed(at, r[at].mean()) for at in groups]
    return -sum(s / w for s, w in sums) / len(groups)


def rest(b, logp):
    return -(logp * b.mask).sum() / b.len.sum()


def filters(b):
    """Rows that pass, by numpy's percentile."""
    score, keys = np.array(b.score.tolist()), np.array(b.keys)
    out = []
    for kind, threshold in [("absolute", 0.4), ("absolute", 0.0), ("percentile", 50.0), ("percentile", 90.0), ("between", 0.0), ("between", 0.7)]:
        kept = []
        for s, k in zip(score, keys):
            own = score[keys == k]
            least = {
                "absolute": threshold,
                "percentile": np.percentile(own, threshold),
                "between": threshold * own.max() + (1 - threshold) * own.mean(),
            }[kind]
            kept.append(bool(s > least) if kind == "absolute" else bool(s >= min(least, own.max())))
        out.append(dict(filter=kind, threshold=threshold, kept=kept))
    return out


if __name__ == "__main__":
    pairs = Batch([3, 5, 1, 2, 4, 4, 6, 1], [1, 1, 2, 2, 3, 3, 4, 4])
    rows = Batch([4, 1, 7, 3, 5, 2, 6], [1, 1, 2, 2, 2, 3, 4])
    metrics = agree_with_trl(pairs)
    cases = [case("dpo", config, pairs, dpo) for config in [
        dict(beta=0.3), dict(beta=0.1, label_smoothing=0.2), dict(beta=0.5, loss="ipo", length_average=False),
        dict(beta=0.3, loss="ipo", length_average=True), dict(beta=0.3, reference_free=True),
    ]]
    cases += [case("gold_p", config, rows, gold_p) for config in [dict(), dict(weight_min=0.1, reward_min=9.5, gamma=0.8, suffix=3)]]
    cases += [case("gold_s", config, rows, gold_s) for config in [dict(), dict(weight_min=0.0, reward_min=0.0, suffix=5, gamma=0.9)]]
    for name in ["a_lol", "a_lol_seq", "r_lol"]:
        cases += [case(name, config, rows, a_lol(name)) for config in [dict(), dict(clip=0.2), dict(clip=3.0)]]
    cases += [case("a_lol_ref_free", dict(), rows, a_lol("a_lol_ref_free"))]
    cases += [case("a_lol_kl", config, rows, a_lol("a_lol_kl")) for config in [dict(), dict(kl_coef=0.5)]]
    cases += [case("wbc", dict(), rows, a_lol("wbc"))]
    cases += [case("r_gold", config, rows, a_lol("r_gold")) for config in [dict(), dict(weight_min=0.6)]]
    cases += [case("rwr", config, rows, rwr) for config in [
        dict(), dict(beta=0.3, weight_max=2.0), dict(normalise="prompt", beta=0.5), dict(normalise="none", standardise=False),
        dict(standardise=False, weight_max=1.2, beta=0.2),
    ]]
    cases += [case("rest", dict(), rows, rest)]
    batches = dict(pairs=pairs.record(), rows=rows.record())
    golden = dict(batches=batches, cases=cases, trl_dpo_metrics=metrics, filters=filters(rows))
    (GOLDEN / "offline.json").write_text(json.dumps(golden))
    print(len(cases), "cases;", "TRL agrees:", {k: round(v, 6) for k, v in metrics.items() if "/" in k})
