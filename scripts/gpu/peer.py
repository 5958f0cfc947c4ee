"""The same steps in PyTorch and PEFT, for gpu-proof.sh: peer.py WORK SHAPE.json DEVICE, WORK one of machine, steps, decode.

One line of JSON for each thing measured. The base is one bf16 LLaMA of random weights; policy, critic and reward model are LoRA adapters
(rank 8 on q and v) on it, the reference is the base; activations are checkpointed. Every step learns from 4 rows (4 pairs) of the shape's
lengths. PPO: sample, score, reference, values, one pass of policy and critic. ESRL, as released: sample, score, reference, one pass.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

BATCH = 4
STEPS = 3
DECODE = dict(prompt=128, new=128)


def say(**facts):
    print(json.dumps(facts), flush=True)


class Clock:
    """Seconds and peak memory of a function, the first call left out."""

    def __init__(self, device):
        self.cuda = device == "cuda"

    def now(self):
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def measure(self, step, steps=STEPS):
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        secs = []
        for _ in range(steps):
            began = self.now()
            step()
            secs.append(self.now() - began)
        peak = torch.cuda.max_memory_reserved() / 1e9 if self.cuda else None
        return statistics.median(secs[1:]), peak


def machine(device):
    """The rates that shares are of: a bf16 product of random numbers, and a copy counted twice."""
    clock = Clock(device)
    n = 8192 if device == "cuda" else 512
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    secs, _ = clock.measure(lambda: [a @ b for _ in range(10)])
    x = torch.empty(2**28 if device == "cuda" else 2**22, dtype=torch.float32, device=device)
    y = torch.empty_like(x)
    copy, _ = clock.measure(lambda: [y.copy_(x) for _ in range(5)])
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    say(work="machine", name=name, torch=torch.__version__, flops=20 * n**3 / secs, bytes_per_sec=10 * x.nbytes / copy)


def base(shape, device):
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=shape["vocab"], hidden_size=shape["d"], intermediate_size=shape["f"], num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"], max_position_embeddings=shape["positions"], attn_implementation="sdpa",
    )
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config.pad_token_id = 0
    return model.eval()


class Steps:
    def __init__(self, shape, device):
        import peft

        self.shape, self.device, self.clock = shape, device, Clock(device)
        lora = peft.LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], lora_dropout=0.0)
        self.model = peft.get_peft_model(base(shape, device), lora, adapter_name="policy")
        for name in ["critic", "reward"]:
            self.model.add_adapter(name, lora)
        inner = self.model.get_base_model()
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.inner = inner
        self.heads = {n: torch.zeros(shape["d"], device=device, requires_grad=True) for n in ["critic", "reward"]}
        self.optimizers = {}

    def optimizer(self, name):
        if name not in self.optimizers:
            self.model.set_adapter(name)
            params = [p for n, p in self.model.named_parameters() if f".{name}." in n]
            if name in self.heads:
                params.append(self.heads[name])
            self.optimizers[name] = torch.optim.AdamW(params, lr=1e-5)
        return self.optimizers[name]

    def ids(self, rows, length):
        return torch.randint(3, self.shape["vocab"], (rows, length), device=self.device)

    def hidden(self, ids, adapter, learns):
        """Hidden states under an adapter; the base's for None."""
        self.model.train(learns)  # PyTorch checkpoints activations in training mode only
        if adapter is None:
            with self.model.disable_adapter():
                return self.inner.model(ids, use_cache=False).last_hidden_state
        self.model.set_adapter(adapter)
        return self.inner.model(ids, use_cache=False).last_hidden_state

    def logp(self, ids, adapter, learns=False):
        """Of the response's tokens; logits exist for those only."""
        at = self.shape["prompt"] - 1
        states = self.hidden(ids, adapter, learns)[:, at:-1]
        logits = self.inner.lm_head(states).float()
        return -F.cross_entropy(logits.flatten(0, 1), ids[:, at + 1 :].flatten(), reduction="none").view(ids.shape[0], -1)

    def values(self, ids, name, learns=False):
        return self.hidden(ids, name, learns).float() @ self.heads[name]

    def learn(self, name, loss):
        loss.backward()
        optimizer = self.optimizer(name)
        optimizer.step()
        optimizer.zero_grad()

    def sft(self):
        self.optimizer("policy")
        ids = self.ids(BATCH, self.shape["prompt"] + self.shape["response"])
        self.learn("policy", -self.logp(ids, "policy", learns=True).mean())

    def rm(self):
        self.optimizer("reward")
        ids = self.ids(2 * BATCH, self.shape["prompt"] + self.shape["response"])
        score = self.values(ids, "reward", learns=True)[:, -1]
        self.learn("reward", -F.logsigmoid(score[:BATCH] - score[BATCH:]).mean())

    @torch.no_grad()
    def sample(self):
        self.model.set_adapter("policy")
        self.model.eval()
        new = self.shape["response"]
        return self.inner.generate(
            self.ids(BATCH, self.shape["prompt"]), do_sample=True, temperature=1.0, top_k=0, max_new_tokens=new, min_new_tokens=new, use_cache=True
        )

    def ppo(self):
        self.optimizer("policy"), self.optimizer("critic")
        ids, at = self.sample(), self.shape["prompt"] - 1
        with torch.no_grad():
            score = self.values(ids, "reward")[:, -1]
            reference, old = self.logp(ids, None), self.logp(ids, "policy")
            values = self.values(ids, "critic")[:, at:-1]
            reward = -0.1 * (old - reference)
            reward[:, -1] += score
            advantage, last = torch.zeros_like(values), 0.0
            for t in reversed(range(values.shape[1])):
                after = values[:, t + 1] if t + 1 < values.shape[1] else 0.0
                last = reward[:, t] + after - values[:, t] + 0.95 * last
                advantage[:, t] = last
            returns = advantage + values
        ratio = (self.logp(ids, "policy", learns=True) - old).exp()
        self.learn("policy", -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean())
        self.learn("critic", (self.values(ids, "critic", learns=True)[:, at:-1] - returns).square().mean())

    def esrl(self):
        self.optimizer("policy")
        ids = self.sample()
        with torch.no_grad():
            score = self.values(ids, "reward")[:, -1]
            kl = (self.logp(ids, "policy") - self.logp(ids, None)).sum(1)
        advantage = (score - 0.1 * kl)[:, None]
        self.learn("policy", -(advantage * self.logp(ids, "policy", learns=True)).mean())

    def run(self):
        length = self.shape["prompt"] + self.shape["response"]
        for work, rows in [("sft", BATCH), ("rm", 2 * BATCH), ("ppo", BATCH), ("esrl", BATCH)]:
            try:
                secs, peak = self.clock.measure(getattr(self, work))
                say(work=work, side="peer", secs=secs, peak_gb=peak, tokens=rows * length)
            except torch.cuda.OutOfMemoryError:
                say(work=work, side="peer", failed="out of memory")
            self.optimizers.clear()


@torch.no_grad()
def decode(shape, device):
    model, clock = base(shape, device), Clock(device)
    prompt, new = DECODE["prompt"], DECODE["new"]
    if device == "cpu":
        prompt, new = 32, 32
    for batch in [1, 8, 32, 128]:
        ids = torch.randint(3, shape["vocab"], (batch, prompt), device=device)

        def step():
            model.generate(ids, do_sample=False, max_new_tokens=new, min_new_tokens=new, use_cache=True)

        secs, peak = clock.measure(step, steps=2)
        say(work=f"decode_{batch}", side="peer", secs=secs, peak_gb=peak, tokens=batch * new)


def main():
    work, shape, device = sys.argv[1], json.load(open(sys.argv[2])), sys.argv[3]
    torch.manual_seed(1)
    if work == "machine":
        machine(device)
    elif work == "steps":
        Steps(shape, device).run()
    else:
        decode(shape, device)


main()
