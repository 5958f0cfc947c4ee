"""GGUF's blocks, for tests/ops/quantised_blocks.rs: what the gguf package says of the numbers in them, what PyTorch says of a product with those
numbers in f64 and of its gradient to the input (QLoRA: through the widened weight), and how the package rounds.

    python scripts/golden/blocks.py

Writes tests/golden/blocks.safetensors.
"""

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "blocks.safetensors"
ROWS, TOKENS, WIDTH = 3, 2, 256
# where in a block its f16 scales are
SCALES = {
    "q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q8_0": [0],
    "q2_k": [80, 82], "q3_k": [108], "q4_k": [0, 2], "q5_k": [0, 2], "q6_k": [208],
}
# every kind of f16: normal, negative, the least subnormal, a large subnormal, zero
HALVES = np.array([0.0123, -0.5, 6e-8, 6.0e-5, 0.0, 1.75], np.float16)

rng = np.random.default_rng(7)
tensors = {}
for name, places in SCALES.items():
    kind = Type[name.upper()]
    numbers, size = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (ROWS, WIDTH // numbers, size), dtype=np.uint8)
    for at in places:
        halves = rng.choice(HALVES, data.shape[:2])
        data[:, :, at : at + 2] = halves[..., None].view(np.uint8)
    weight = dequantize(data.reshape(ROWS, -1), kind)
    x = torch.tensor(rng.standard_normal((TOKENS, WIDTH)), requires_grad=True)
    g = torch.tensor(rng.standard_normal((TOKENS, ROWS)))
    y = x @ torch.tensor(weight, dtype=torch.float64).T
    (y * g).sum().backward()
    tensors |= {
        f"{name}.bytes": torch.tensor(data),
        f"{name}.numbers": torch.tensor(weight),
        f"{name}.x": x.detach(),
        f"{name}.g": g,
        f"{name}.y": y.detach(),
        f"{name}.dx": x.grad,
    }
wide = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
tensors["wide"] = torch.tensor(wide)
for name in ["q8_0", "q4_0"]:
    tensors[f"{name}.rounded"] = torch.tensor(quantize(wide, Type[name.upper()]))
save_file(tensors, OUT)
print(OUT, OUT.stat().st_size, "bytes")
