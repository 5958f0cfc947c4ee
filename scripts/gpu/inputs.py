"""A model of random weights and rows of fixed lengths for gpu-proof.sh: inputs.py SHAPE DIRECTORY. Needs torch, safetensors and tokenizers.

The weights are N(0, 0.02) in bf16, the tokenizer is the tiny world's; the rows are its words, so many that a prompt and a response have
the shape's lengths in tokens.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

# LLaMA-7B: Touvron et al. 2023, Table 2
SHAPES = {
    "7b": dict(vocab=32000, d=4096, f=11008, layers=32, heads=32, prompt=256, response=256, positions=2048),
    "tiny": dict(vocab=1008, d=64, f=160, layers=2, heads=2, prompt=56, response=24, positions=256),
}
TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{}\n\n### Response:"
)
ROWS = 24


def config(shape):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape["vocab"],
        "hidden_size": shape["d"],
        "intermediate_size": shape["f"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["heads"],
        "hidden_act": "silu",
        "max_position_embeddings": shape["positions"],
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def weights(shape, out):
    """One file a block, so that no more than that is held twice."""
    d, f, v = shape["d"], shape["f"], shape["vocab"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)

    def normal(*size):
        return torch.empty(*size, dtype=torch.bfloat16, device=device).normal_(0, 0.02).cpu()

    files = [("model.embed_tokens.weight", {"model.embed_tokens.weight": normal(v, d)})]
    for i in range(shape["layers"]):
        at = f"model.layers.{i}."
        files.append((at, {
            **{f"{at}self_attn.{p}_proj.weight": normal(d, d) for p in "qkvo"},
            f"{at}mlp.gate_proj.weight": normal(f, d),
            f"{at}mlp.up_proj.weight": normal(f, d),
            f"{at}mlp.down_proj.weight": normal(d, f),
            f"{at}input_layernorm.weight": torch.ones(d, dtype=torch.bfloat16),
            f"{at}post_attention_layernorm.weight": torch.ones(d, dtype=torch.bfloat16),
        }))
    files.append(("end", {"model.norm.weight": torch.ones(d, dtype=torch.bfloat16), "lm_head.weight": normal(v, d)}))
    index = {}
    for n, (_, tensors) in enumerate(files, 1):
        name = f"model-{n:05d}-of-{len(files):05d}.safetensors"
        save_file(tensors, out / name, metadata={"format": "pt"})
        index.update({key: name for key in tensors})
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def rows(shape, tokenizer, out):
    words = [w for w in "apple boat cedar drum elm fox grape hotel iron jacket kite lamp mouse nest oak piano".split()]

    def text(n_tokens, row, frame="{}"):
        """Words, so many that the frame with them has n_tokens."""
        chosen = []
        while True:
            more = chosen + [words[(row * 7 + len(chosen) * (row % 5 + 1)) % len(words)]]
            if chosen and len(tokenizer.encode(frame.format(" ".join(more) + ".")).ids) > n_tokens:
                return " ".join(chosen) + "."
            chosen = more

    demonstrations, pairs, prompts = [], [], []
    for row in range(ROWS):
        instruction = text(shape["prompt"], row, TEMPLATE)
        answers = [text(shape["response"] - 2, row + k) for k in (1, 2)]
        demonstrations.append({"instruction": instruction, "input": "", "output": answers[0]})
        pairs.append({"user_input": instruction, "completion_a": answers[0], "completion_b": answers[1]})
        prompts.append({"instruction": instruction, "input": "", "output": answers[0]})
    for name, list_ in [("demonstrations", demonstrations), ("comparisons", pairs), ("prompts", prompts)]:
        (out / f"{name}.json").write_text(json.dumps(list_))


def main():
    shape, out = SHAPES[sys.argv[1]], Path(sys.argv[2])
    model = out / "model"
    model.mkdir(parents=True, exist_ok=True)
    base = Path("data/tiny/base")
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(base / name, model / name)
    (model / "config.json").write_text(json.dumps(config(shape)))
    weights(shape, model)
    rows(shape, Tokenizer.from_file(str(base / "tokenizer.json")), out)
    (out / "shape.json").write_text(json.dumps(shape))


main()
