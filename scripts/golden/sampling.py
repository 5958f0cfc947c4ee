"""Golden distributions of the sampler (tests/generation.rs): transformers' warpers in their order, temperature, top-k, top-p.
Needs torch, transformers.

    python scripts/golden/sampling.py     # writes tests/golden/sampling.json
"""

import json
from pathlib import Path

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def warped(logits, temperature, top_k, top_p):
    scores = torch.tensor([logits])
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1.0:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return torch.softmax(scores.double(), dim=-1)[0]


def main():
    gen = torch.Generator().manual_seed(3)
    spread = (2.0 * torch.randn(40, generator=gen)).tolist()
    tied = [1.0, 3.0, 2.0, 2.0, 0.5, 2.0, -4.0, 3.0]  # the 4th largest ties with the 3rd and 5th
    long = (1.5 * torch.randn(2000, generator=gen)).tolist()
    cases = []
    for logits, temperature, top_k, top_p in [
        (spread, 1.0, 0, 1.0),
        (spread, 0.6, 0, 1.0),
        (spread, 1.3, 5, 1.0),
        (spread, 1.0, 0, 0.9),
        (spread, 0.8, 10, 0.7),
        (spread, 1.0, 1, 1.0),
        (spread, 1.0, 0, 1e-4),
        (spread, 1.0, 400, 0.95),
        (tied, 1.0, 4, 1.0),
        (tied, 0.9, 1, 1.0),
        (long, 1.0, 0, 0.3),
        (long, 1.0, 0, 0.98),
        (long, 0.7, 300, 0.95),
    ]:
        untruncated = torch.softmax(torch.tensor(logits).double() / temperature, dim=-1)
        probs = warped(logits, temperature, top_k, top_p)
        kept = torch.nonzero(probs).flatten().tolist()
        cases.append(
            {
                "logits": [round(x, 6) for x in logits],
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "entropy": float(-(untruncated * untruncated.log()).sum()),
                "kept": kept,
                "probs": [round(float(probs[i]), 9) for i in kept],
            }
        )
    # the long vectors once, by name
    vectors = []
    for case in cases:
        if case["logits"] not in vectors:
            vectors.append(case["logits"])
        case["logits"] = vectors.index(case["logits"])
    (GOLDEN / "sampling.json").write_text(json.dumps({"logits": vectors, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
