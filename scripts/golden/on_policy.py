"""Golden losses and gradients of reinforce, mrt, rloo and grpo (tests/methods/on_policy/): written from their papers on padded
batches in float64, gradients by autograd; rloo and grpo also by TRL's own trainers on the same numbers, which must agree with ours to
1e-12 before anything is written. Needs torch and trl.

    python scripts/golden/on_policy.py     # writes tests/golden/on_policy.json

TRL's advantages and losses are methods of its trainers. They are called as they are, with a `self` that holds the settings and gives
out our log-probs and rewards where a trainer would ask a model, a sampler or a reward function (class Fake).
"""

import json
from collections import defaultdict, deque
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from trl.trainer import grpo_trainer, rloo_trainer

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
GEN = torch.Generator().manual_seed(11)


def f32(x):
    """Values that float32 holds, as float64."""
    return x.float().double()


class Batch:
    """Rows of `sizes[i]` samples of prompt `keys[i]`, padded on the right."""

    def __init__(self, lens, keys, sizes):
        self.lens, self.keys = lens, [key for key, n in zip(keys, sizes) for _ in range(n)]
        self.groups, at = [], 0
        for n in sizes:
            self.groups.append(list(range(at, at + n)))
            at += n
        r, t = len(lens), max(lens)
        self.len = torch.tensor(lens).double()
        self.mask = (torch.arange(t)[None, :] < torch.tensor(lens)[:, None]).double()
        self.logp_old = f32(-torch.rand(r, t, generator=GEN) * 3)
        self.logp_ref = f32(self.logp_old + 0.3 * torch.randn(r, t, generator=GEN))
        self.logp = f32(self.logp_old + 0.2 * torch.randn(r, t, generator=GEN))
        self.entropy = f32(torch.rand(r, t, generator=GEN) * 2)
        self.score = f32(1.5 * torch.randn(r, generator=GEN))
        self.finished = [i % 3 != 1 for i in range(r)]

    def flat(self, x):
        return x[self.mask.bool()].tolist()

    def record(self):
        zeros = torch.zeros_like(self.logp)
        columns = dict(logp_old=self.logp_old, logp_ref=self.logp_ref, entropy=self.entropy, logp=self.logp)
        columns |= dict(values=zeros, new_values=zeros)
        flat = {name: self.flat(x) for name, x in columns.items()}
        return dict(lens=self.lens, keys=self.keys, score=self.score.tolist(), finished=self.finished, **flat)

    def kl(self):
        return ((self.logp_old - self.logp_ref) * self.mask).sum(1)

    def shaped(self, c):
        score = self.score.clamp(-c["score_clip"], c["score_clip"]) if c["score_clip"] else self.score
        missing = torch.tensor([not f for f in self.finished])
        lost = torch.full_like(score, -c["eos_penalty"]) if c["eos_penalty_mode"] == "replace" else score - c["eos_penalty"]
        return torch.where(missing, lost, score)

    def rewards(self, c):
        return self.shaped(c) - c["kl_coef"] * self.kl()


def case(batch, given, weight, loss_of, **more):
    """`loss_of(logp)` with its gradient, and what `prepare` must find."""
    logp = batch.logp.clone().requires_grad_()
    loss = loss_of(logp)
    loss.backward()
    return dict(
        config=given, batch=batch.record(), weight=weight.tolist(), loss=loss.item(), grad_logp=batch.flat(logp.grad), **more
    )


REWARD = dict(kl_coef=0.05, score_clip=0.0, eos_penalty=1.0, eos_penalty_mode="subtract")


def reinforce(given):
    """Two batches, one after the other: what is remembered of the first is in the second's baseline."""
    c = dict(baseline="cumulative", ema_decay=0.9, fifo=1000, normalise="tokens") | REWARD | given
    batches = [Batch([3, 1, 6, 4, 5, 2], [7, 8, 9], [3, 1, 2]), Batch([2, 5, 1, 3, 3], [9, 5, 6], [2, 2, 1])]
    seen, ema, queue, steps = [], None, deque(maxlen=c["fifo"]), []
    for batch in batches:
        r = batch.rewards(c)
        seen += r.tolist()
        queue.extend(r.tolist())
        ema = r.mean().item() if ema is None else c["ema_decay"] * ema + (1 - c["ema_decay"]) * r.mean().item()
        b = torch.zeros_like(r)
        if c["baseline"] == "leave_one_out":
            for rows in batch.groups:
                for i in rows:
                    others = [r[j].item() for j in rows if j != i]
                    b[i] = sum(others) / len(others) if others else r[i]
        else:
            values = dict(cumulative=seen, fifo=list(queue), batch=r.tolist(), ema=[ema], none=[0.0])[c["baseline"]]
            b += sum(values) / len(values)
        n = batch.mask.sum() if c["normalise"] == "tokens" else len(batch.lens)
        loss = lambda logp: -((r - b) * (logp * batch.mask).sum(1)).sum() / n  # noqa: E731
        steps.append(case(batch, given, r - b, loss, baseline=b.mean().item()))
    return steps


def mrt(given):
    c = dict(alpha=0.005, scale_by_alpha=True, length_normalise=True) | REWARD | given
    batch = Batch([3, 1, 6, 4, 5, 2, 3], [7, 8, 9, 2**63 + 1], [3, 1, 2, 1])
    r = batch.rewards(c)
    weight = torch.cat([r[rows] - r[rows].mean() for rows in batch.groups])

    def loss(logp):
        total = 0.0
        for rows in batch.groups:
            seq = (logp * batch.mask).sum(1)[rows]
            old, lens = (batch.logp_old * batch.mask).sum(1)[rows], batch.len[rows]
            z = c["alpha"] * seq
            if c["length_normalise"]:
                z = z + c["alpha"] * (old / lens * lens.mean() - old)
            total = total - (torch.exp(z) / torch.exp(z).sum() * weight[rows]).sum()
        return total / len(batch.groups) / (c["alpha"] if c["scale_by_alpha"] else 1.0)

    return case(batch, given, weight, loss)


def grouped(lens, k):
    return Batch(lens, list(range(len(lens) // k)), [k] * (len(lens) // k))


LENS = [3, 1, 6, 4, 5, 2, 3, 7, 2, 2, 4, 1]


def rloo(given):
    c = dict(normalise_advantages=False, clip=0.2) | REWARD | given
    batch = grouped(LENS, c["samples"])
    r = batch.rewards(c)
    a = torch.stack([r[i] - (r[rows].sum() - r[i]) / (len(rows) - 1) for rows in batch.groups for i in rows])
    if c["normalise_advantages"]:
        a = (a - a.mean()) / (a.std() + 1e-4)

    def loss(logp):
        ratio = torch.exp(((logp - batch.logp_old) * batch.mask).sum(1))
        clipped = ratio.clamp(1 - c["clip"], 1 + c["clip"]) if c["clip"] else ratio
        return -torch.min(ratio * a, clipped * a).mean()

    found = case(batch, given, a, loss)
    if c["clip"] and c["eos_penalty_mode"] == "subtract":
        trl = trl_rloo(batch, c)
        compare("rloo", found, trl)
    return found


def grpo(given):
    c = dict(scale_rewards="group", aggregation="grpo", constant_length=0, beta=0.04, clip=0.2, clip_high=0.0)
    c |= REWARD | dict(kl_coef=0.0) | given
    batch = grouped(LENS, c["samples"])
    r = batch.rewards(c)
    scale = {"group": lambda rows: r[rows].std() + 1e-4, "batch": lambda rows: r.std() + 1e-4, "none": lambda rows: 1.0}
    a = torch.cat([(r[rows] - r[rows].mean()) / scale[c["scale_rewards"]](rows) for rows in batch.groups])

    def loss_of(rows, logp):
        mask, lens = batch.mask[rows], batch.len[rows]
        ratio = torch.exp(logp - batch.logp_old)[rows]
        high = c["clip_high"] or c["clip"]
        adv = a[rows, None]
        tokens = -torch.min(ratio * adv, ratio.clamp(1 - c["clip"], 1 + high) * adv)
        x = (batch.logp_ref - logp)[rows]
        tokens = (tokens + c["beta"] * (torch.exp(x) - 1 - x)) * mask
        if c["aggregation"] == "grpo":
            return (tokens.sum(1) / lens).mean()
        n = dict(
            bnpo=lens.sum(),
            dapo=len(rows) * batch.len.mean(),
            dr_grpo=torch.tensor(len(rows) * c["constant_length"]).double(),
        )
        return tokens.sum() / n[c["aggregation"]]

    everything = list(range(len(LENS)))
    found = case(batch, given, a, lambda logp: loss_of(everything, logp))
    compare("grpo", found, trl_grpo(batch, c, [everything])[0])
    # two optimiser steps' worth of rows
    halves = [everything[1::2], everything[::2]]
    found["minibatches"] = []
    for rows, trl in zip(halves, trl_grpo(batch, c, halves)):
        part = case(batch, given, a, lambda logp, rows=rows: loss_of(rows, logp))
        compare("grpo, half", part, trl)
        kept = [i for row in rows for i in range(sum(LENS[:row]), sum(LENS[: row + 1]))]
        found["minibatches"].append(dict(rows=rows, loss=part["loss"], grad_logp=[part["grad_logp"][i] for i in kept]))
    return found


# ---- TRL


class Fake(SimpleNamespace):
    """A trainer's `self`: `answers` are the log-probs that the next calls of the model give."""

    def __init__(self, batch, rewards, **settings):
        def same(x, reduction=None):
            return x

        super().__init__(
            accelerator=SimpleNamespace(
                device="cpu", process_index=0, num_processes=1, gather=same, gather_for_metrics=same, reduce=same
            ),
            model=SimpleNamespace(training=True),
            ref_model=object(),
            mask_truncated_completions=False,
            pad_to_multiple_of=None,
            _tokenizer=SimpleNamespace(pad_token_id=0),
            reward_weights=torch.ones(1).double(),
            reward_func_names=["r"],
            reward_funcs=[None],
            reward_clip_range=None,
            num_images=None,
            aux_loss_enabled=False,
            log_multimodal=False,
            _metrics=dict(train=defaultdict(list)),
            _logs=defaultdict(list) | dict(rewards=defaultdict(list), extra=defaultdict(list)),
            _pending_extra_logs=defaultdict(list),
            _pending_metrics=defaultdict(list),
            answers=[],
        )
        self.__dict__.update(settings)
        self.batch = batch
        self._calculate_rewards = lambda *_: rewards[:, None].clone()

    def _get_per_token_logps_and_entropies(self, *_, **__):
        logp, rows = self.answers.pop(0)
        return logp[rows], self.batch.entropy[rows], None


def everything(batch):
    return list(range(len(batch.lens)))


def token_ids(batch):
    return [[1]] * len(batch.lens), [[2] * n for n in batch.lens]


def scored(module, trainer, fake):
    """TRL's own advantages. Its modules' process groups and model wrappers are looked up by name and put aside."""
    identity = lambda x: x  # noqa: E731
    with (
        mock.patch.object(module, "gather", identity, create=True),
        mock.patch.object(module, "gather_object", identity),
        mock.patch.object(module, "disable_gradient_checkpointing", lambda *_: nullcontext()),
    ):
        return trainer._generate_and_score_completions(fake, [dict(prompt="x")] * len(fake.batch.lens))


def unwrapped(method):
    """Without the profiling decorator, which wants a running trainer."""
    return getattr(method, "__wrapped__", method)


def trl_rloo(batch, c):
    clip_range = (-c["score_clip"], c["score_clip"]) if c["score_clip"] else None
    # TRL has no EOS penalty; where both are on it would be clipped with the score
    assert not (clip_range and c["eos_penalty"])
    prompts, completions = token_ids(batch)
    fake = Fake(
        batch,
        batch.shaped(c | dict(score_clip=0.0)),
        args=SimpleNamespace(per_device_train_batch_size=99, gradient_checkpointing_kwargs=None),
        beta=c["kl_coef"],
        num_generations=c["samples"],
        reward_clip_range=clip_range,
        normalize_advantages=c["normalise_advantages"],
        epsilon_low=c["clip"],
        epsilon_high=c["clip"],
        _generate=lambda _: (prompts, completions, completions),
    )
    rows = everything(batch)
    fake.answers = [(batch.logp_old, rows)] + [(batch.logp_ref, rows)] * (c["kl_coef"] > 0)
    inputs = scored(rloo_trainer, rloo_trainer.RLOOTrainer, fake)
    logp = batch.logp.clone().requires_grad_()
    fake.answers = [(logp, rows)]
    loss = unwrapped(rloo_trainer.RLOOTrainer._compute_loss)(fake, None, inputs)
    loss.backward()
    return dict(weight=inputs["advantages"].tolist(), loss=loss.item(), grad_logp=batch.flat(logp.grad))


def trl_grpo(batch, c, minibatches):
    prompts, completions = token_ids(batch)
    fake = Fake(
        batch,
        batch.shaped(c),
        args=SimpleNamespace(
            per_device_train_batch_size=99,
            gradient_checkpointing_kwargs=None,
            gradient_accumulation_steps=1,
            steps_per_generation=len(minibatches),
            delta=None,
            use_bias_correction_kl=False,
        ),
        beta=c["beta"],
        num_generations=c["samples"],
        num_iterations=2,  # more than one, so that the old log-probs are read
        current_gradient_accumulation_steps=1,
        scale_rewards=c["scale_rewards"],
        multi_objective_aggregation="sum_then_normalize",
        loss_type=c["aggregation"],
        max_completion_length=c["constant_length"],
        epsilon_low=c["clip"],
        epsilon_high=c["clip_high"] or c["clip"],
        importance_sampling_level="token",
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        environment_factories=None,
        environments=None,
        tools=None,
        _entropy_bonus_enabled=False,
        _generate=lambda _: (prompts, completions, None, completions, None, {}, None, []),
    )
    rows = everything(batch)
    fake.answers = [(batch.logp_old, rows)] + [(batch.logp_ref, rows)] * (c["beta"] > 0)
    inputs = scored(grpo_trainer, grpo_trainer.GRPOTrainer, fake)
    found = []
    for rows in minibatches:
        part = {name: x[rows] if x.dim() else x for name, x in inputs.items()}
        logp = batch.logp.clone().requires_grad_()
        fake.answers = [(logp, rows)]
        loss = unwrapped(grpo_trainer.GRPOTrainer._compute_loss)(fake, None, part)
        loss.backward()
        found.append(dict(weight=inputs["advantages"].tolist(), loss=loss.item(), grad_logp=batch.flat(logp.grad)))
    return found


def compare(name, ours, theirs):
    for key, wanted in theirs.items():
        gap = (torch.tensor(ours[key]).double() - torch.tensor(wanted).double()).abs().max().item()
        assert gap < 1e-12, (name, ours["config"], key, gap)
    compare.n += 1


compare.n = 0


def main():
    torch.set_default_dtype(torch.float64)  # TRL divides counts, whose quotient has the default dtype
    cases = dict(
        reinforce=[
            reinforce(given)
            for given in [
                {},
                dict(baseline="ema", ema_decay=0.7, normalise="rows"),
                dict(baseline="fifo", fifo=8, kl_coef=0.0),
                dict(baseline="batch", score_clip=1.0, eos_penalty=2.0, eos_penalty_mode="replace"),
                dict(baseline="leave_one_out", samples=2, normalise="rows"),
                dict(baseline="none"),
            ]
        ],
        mrt=[
            mrt(given)
            for given in [
                {},
                dict(scale_by_alpha=False, length_normalise=False, kl_coef=0.0, eos_penalty=0.0),
                dict(alpha=1.0, scale_by_alpha=False, length_normalise=False),
                dict(alpha=0.5, score_clip=1.0),
            ]
        ],
        rloo=[
            rloo(given)
            for given in [
                dict(samples=4),
                dict(samples=2, kl_coef=0.3, clip=0.1),
                dict(samples=6, kl_coef=0.0, normalise_advantages=True),
                dict(samples=3, score_clip=1.0, eos_penalty=0.0),
                dict(samples=4, clip=0.0, eos_penalty_mode="replace"),
            ]
        ],
        grpo=[
            grpo(given)
            for given in [
                dict(samples=4),
                dict(samples=3, aggregation="bnpo", clip_high=0.28, beta=0.3),
                dict(samples=2, aggregation="dapo", beta=0.0, clip=0.1),
                dict(samples=6, aggregation="dapo", scale_rewards="batch"),
                dict(samples=4, aggregation="dr_grpo", scale_rewards="none", constant_length=8),
                dict(samples=4, aggregation="grpo", scale_rewards="none", score_clip=1.0, eos_penalty_mode="replace"),
            ]
        ],
    )
    path = GOLDEN / "on_policy.json"
    path.write_text(json.dumps(cases) + "\n")
    print(path.stat().st_size, "bytes;", compare.n, "cases equal to TRL's")


if __name__ == "__main__":
    main()
