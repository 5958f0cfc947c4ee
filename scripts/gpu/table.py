"""The table of gpu-proof.sh, in Markdown: table.py FOLDER. Reads what the script left there; needs Python alone."""

import json
import statistics
import sys
from pathlib import Path

PAPER = {"hours": (13.87, 10.19), "GB": (23.14, 20.03)}
NAMES = {"sft": "SFT step", "rm": "RM step", "ppo": "PPO step", "esrl": "ESRL step"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")] if path.exists() else []


def number(x, form="{:.3g}"):
    return "-" if x is None else form.format(x)


def ours(run):
    """Median seconds and tokens of a step after the first, and the peak, of a run's directory."""
    rows = [r for r in lines(run / "timings.jsonl") if "time/step" in r]
    if not (run / "run.json").exists() or len(rows) < 2:
        return None
    info = json.loads((run / "run.json").read_text())
    memory = info.get("memory", {})
    return {
        "secs": statistics.median(r["time/step"] for r in rows[1:]),
        "phases": {k: statistics.median(r.get(k, 0.0) for r in rows[1:]) for k in rows[1] if k.startswith("time/")},
        "peak_gb": info["peak_memory_bytes"] / 1e9,
        "plan_gb": memory.get("estimate_gb"),
        "blocks": f"{memory.get('checkpointed_blocks')} of {memory.get('blocks')}",
    }


def numbers(shape):
    """Of the matrices, embedding left out."""
    d, f = shape["d"], shape["f"]
    return shape["layers"] * (4 * d * d + 3 * d * f) + shape["vocab"] * d


def flops(work, shape):
    """What a step of 4 rows cannot do without: 2 a number and token forward, 2 more where it learns (the base stands still)."""
    n, (p, r) = numbers(shape), (shape["prompt"], shape["response"])
    tokens = 4 * (p + r)
    passes = {"sft": 4, "rm": 8, "ppo": 2 + 2 + 2 + 2 + 4 + 4, "esrl": 2 + 2 + 2 + 4}[work]
    return n * passes * tokens


def steps(folder, shape, rates, capped):
    peer = {l["work"]: l for l in lines(folder / "peer_steps.jsonl")}
    print(f"| step of 4 x ({shape['prompt']} + {shape['response']}) tokens{capped} | ours, s | tokens/s | peak, GB (plan) | blocks checkpointed | share of bf16 rate | PyTorch + PEFT, s | peak, GB | ours faster by |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = {}
    for work, name in NAMES.items():
        run = found[work] = ours(folder / "runs" / work)
        other = peer.get(work, {})
        tokens = 4 * (2 if work == "rm" else 1) * (shape["prompt"] + shape["response"])
        beside = number(other.get("secs")) if "failed" not in other else other["failed"]
        if run is None:
            print(f"| {name} | not measured | | | | | {beside} | {number(other.get('peak_gb'))} | |")
            continue
        share = flops(work, shape) / run["secs"] / rates["flops"] if "flops" in rates else None
        ratio = other["secs"] / run["secs"] if other.get("secs") else None
        print(
            f"| {name} | {run['secs']:.3g} | {tokens / run['secs']:.0f} | {run['peak_gb']:.2f} ({number(run['plan_gb'], '{:.2f}')}) | {run['blocks']} "
            f"| {number(share and 100 * share, '{:.0f} %')} | {beside} | {number(other.get('peak_gb'), '{:.2f}')} | {number(ratio, '{:.2f}')} |"
        )
    ppo, esrl = found["ppo"], found["esrl"]
    if ppo and esrl:
        hours, memory = PAPER["hours"], PAPER["GB"]
        print(
            f"\nPPO : ESRL {ppo['secs']:.3g} : {esrl['secs']:.3g} s = {ppo['secs'] / esrl['secs']:.2f} (the paper's {hours[0]} : {hours[1]} h = {hours[0] / hours[1]:.2f}); "
            f"memory {ppo['peak_gb']:.2f} : {esrl['peak_gb']:.2f} GB = {ppo['peak_gb'] / esrl['peak_gb']:.2f} ({memory[0]} : {memory[1]} GB = {memory[0] / memory[1]:.2f})"
        )
        for name, run in [("PPO", ppo), ("ESRL", esrl)]:
            phases = sorted(run["phases"].items(), key=lambda kv: -kv[1])
            print(f"{name} by phase: " + ", ".join(f"{k.removeprefix('time/')} {v:.3g} s" for k, v in phases if k != "time/step"))


def decoding(folder, shape, rates):
    ours_by = {l["batch"]: l for l in lines(folder / "decode.jsonl")}
    peer = {l["work"]: l for l in lines(folder / "peer_decode.jsonl")}
    print("\n| decode, batch | ours, tokens/s | transformers, tokens/s | ours faster by | weights read, share of bandwidth |")
    print("|---|---|---|---|---|")
    for batch in [1, 8, 32, 128]:
        run, other = ours_by.get(batch), peer.get(f"decode_{batch}")
        mine = run["tokens"][-1] / min(run["secs"][1:] or run["secs"]) if run else None
        theirs = other["tokens"] / other["secs"] if other else None
        share = mine / batch * 2 * numbers(shape) / rates["bytes_per_sec"] if mine and "bytes_per_sec" in rates else None
        print(
            f"| {batch} | {number(mine, '{:.0f}')} | {number(theirs, '{:.0f}')} | {number(mine and theirs and mine / theirs, '{:.2f}')} "
            f"| {number(share and 100 * share, '{:.0f} %')} |"
        )


def pipelines(folder):
    """The first logged values of each run, on the device and on the CPU."""
    for world in sorted({p.name.split("-")[0] for p in (folder / "same").glob("*-cpu")}):
        for stage in ["sft", "rm", "ppo", "esrl"]:
            pair = [lines(folder / "same" / f"{world}-{side}" / stage / "metrics.jsonl") for side in ["cpu", "device"]]
            keys = ["train/loss", "eval/loss", "eval/reward", "objective/kl", "policy/sampler_gap"]
            worst, where, count = 0.0, "", 0
            for a, b in zip(*pair):
                for key in keys:
                    if key in a and key in b and a["step"] == b["step"]:
                        count += 1
                        apart = abs(a[key] - b[key]) / max(abs(a[key]), 1e-2)
                        if apart > worst:
                            worst, where = apart, f"{key} of step {a['step']}"
            # drawn tokens follow from logits, so that one other token changes an RL run
            most = 1e-2 if stage in ("sft", "rm") else 0.25
            verdict = "not measured" if count == 0 else "same" if worst <= most else "NOT THE SAME"
            print(f"pipeline {world} {stage}: {verdict}; {count} values, at most {worst:.1e} apart{' (' + where + ')' if where else ''}, {most:g} allowed")


def main():
    folder = Path(sys.argv[1])
    facts = json.loads((folder / "facts.json").read_text())
    shape = json.loads((folder / "inputs" / "shape.json").read_text()) if (folder / "inputs" / "shape.json").exists() else None
    rates = next(iter(lines(folder / "peer_machine.jsonl")), {})
    print(f"## {facts['date']} · gpu-proof.sh, DEVICE={facts['device']} SHAPE={facts['shape']}, {facts['commit']}")
    print(facts["card"])
    if rates:
        print(f"bf16 product {rates['flops'] / 1e12:.3g} TFLOP/s, copy {rates['bytes_per_sec'] / 1e9:.4g} GB/s (PyTorch {rates['torch']}, {rates['name']})")
    print()
    print((folder / "ops.txt").read_text().strip())
    pipelines(folder)
    print()
    if shape:
        steps(folder, shape, rates, facts["capped"])
        decoding(folder, shape, rates)
    kernels = folder / "kernels.txt"
    if kernels.exists():
        print("\n" + kernels.read_text().strip())
    notes = folder / "notes.txt"
    if notes.exists():
        print("\n" + notes.read_text().strip())


main()
