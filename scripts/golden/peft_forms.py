"""Adapters of every form of PEFT's LoraConfig that we read. Needs torch, transformers, peft, safetensors.

    python scripts/golden/peft_forms.py        # writes tests/golden/peft-forms/, reads tests/golden/tiny-llama/tied

One directory for each adapter on tiny-llama/tied, saved by PEFT:
  patterns/    q, v, gate, down; r 4, alpha 8; rank_pattern and alpha_pattern by name, end of path and regular expression
  rslora/      q, o; r 4, rank-stabilised, with both patterns
  regex/       target_modules is a regular expression of whole paths
  all-linear/  target_modules = "all-linear", which PEFT saves as the names that it stands for
  paths/       target_modules are ends of paths: one matrix of each layer

forms.safetensors    ids [N], lens [B], prompt_lens [B]: ragged sequences; labels are the tokens from prompt_len on.
                     For each adapter <a>: <a>.logits [N, V]; <a>.merged [N, V] after merge_and_unload; <a>.loss [1],
                     the mean NLL over all labels; <a>.grad.<key> of it; <a>.step.<key> after one step of
                     torch.optim.AdamW(lr 1e-2, betas (0.9, 0.999), eps 1e-8, weight_decay 0).
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
BASE, OUT = GOLDEN / "tiny-llama" / "tied", GOLDEN / "peft-forms"
VOCAB = 96
FORMS = {
    "patterns": dict(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"],
        rank_pattern={"v_proj": 2, "layers.1.self_attn.q_proj": 6, r".*layers\.0\.mlp\.\w+_proj": 3},
        alpha_pattern={"down_proj": 5, r"model\.layers\.0\.self_attn\.(q|v)_proj": 20},
    ),
    "rslora": dict(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "o_proj"],
        use_rslora=True,
        rank_pattern={"o_proj": 9},
        alpha_pattern={"layers.0.self_attn.o_proj": 3},
    ),
    "regex": dict(r=3, lora_alpha=6, target_modules=r"model\.layers\.(?!0)\d+\.(self_attn\.(k|v)|mlp\.up)_proj"),
    "all-linear": dict(r=2, lora_alpha=4, target_modules="all-linear"),
    "paths": dict(r=3, lora_alpha=9, target_modules=["layers.0.self_attn.o_proj", "model.layers.1.mlp.down_proj"]),
}


def base():
    return LlamaForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()


def logits(model, seqs):
    with torch.no_grad():
        return torch.cat([model(s[None]).logits[0] for s in seqs]).contiguous()


def nll_mean(model, seqs, prompt_lens):
    total, count = 0.0, 0
    for s, n in zip(seqs, prompt_lens):
        logp = model(s[None]).logits[0, n - 1 : -1].log_softmax(-1)
        total = total - logp.gather(1, s[n:, None]).sum()
        count += len(s) - n
    return total / count


def tidy(directory):
    (directory / "README.md").unlink(missing_ok=True)
    file = directory / "adapter_config.json"
    settings = json.loads(file.read_text().replace(str(GOLDEN) + "/", ""))
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()  # a set, which PEFT writes in any order
    file.write_text(json.dumps(settings, indent=2) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    gen = torch.Generator().manual_seed(11)
    lens, prompt_lens = [9, 14, 4], [3, 6, 1]
    seqs = [torch.randint(3, VOCAB, (n,), generator=gen) for n in lens]
    golden = {"ids": torch.cat(seqs), "lens": torch.tensor(lens), "prompt_lens": torch.tensor(prompt_lens)}
    for seed, (name, settings) in enumerate(FORMS.items()):
        torch.manual_seed(20 + seed)
        model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "lora_B" in key:
                    p.normal_(0, 0.1)
        model.save_pretrained(OUT / name)
        tidy(OUT / name)

        golden[f"{name}.logits"] = logits(PeftModel.from_pretrained(base(), OUT / name).eval(), seqs)
        merged = PeftModel.from_pretrained(base(), OUT / name).merge_and_unload()
        golden[f"{name}.merged"] = logits(merged.eval(), seqs)
        model = PeftModel.from_pretrained(base(), OUT / name, is_trainable=True)
        params = {n.replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(params.values(), lr=1e-2, weight_decay=0.0)
        loss = nll_mean(model, seqs, prompt_lens)
        loss.backward()
        golden[f"{name}.loss"] = loss.detach()[None]
        golden |= {f"{name}.grad.{n}": p.grad.clone() for n, p in params.items()}
        optimizer.step()
        golden |= {f"{name}.step.{n}": p.detach().clone() for n, p in params.items()}
    save_file(golden, OUT / "forms.safetensors")


if __name__ == "__main__":
    main()
