"""Do transformers and PEFT read what we write, and find the same logits? Needs torch, transformers, peft, safetensors.

    WICK_PEFT_OUT=/tmp/out cargo test --release -p wick-tests files_for_transformers_and_peft
    python scripts/golden/check_peft.py /tmp/out

The directory holds base/ and merged/ (Hugging Face), adapter/ (PEFT) and logits.safetensors with our `ids`, `base`,
`adapter` and `merged`. Prints the largest difference of each and fails above 1e-4.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    out = Path(sys.argv[1])
    ours = load_file(out / "logits.safetensors")
    load = lambda name: AutoModelForCausalLM.from_pretrained(out / name, dtype=torch.float32).eval()
    base = load("base")
    models = {"base": base, "merged": load("merged")}
    models["adapter"] = PeftModel.from_pretrained(load("base"), out / "adapter").eval()
    models["adapter, merged by PEFT"] = PeftModel.from_pretrained(load("base"), out / "adapter").merge_and_unload()
    worst = 0.0
    for name, model in models.items():
        with torch.no_grad():
            theirs = model(ours["ids"][None]).logits[0]
        off = (theirs - ours[name.split(",")[0]]).abs().max().item()
        worst = max(worst, off)
        print(f"{name}: largest logit {theirs.abs().max():.3f}, largest difference {off:.2e}")
    tokenizer = AutoTokenizer.from_pretrained(out / "merged")
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "how many"}], tokenize=False, add_generation_prompt=True
    )
    print(f"tokenizer: bos {tokenizer.bos_token_id}, eos {tokenizer.eos_token_id}, chat {chat!r}")
    print(f"generation config: eos {base.generation_config.eos_token_id}, rope {base.config.rope_parameters}")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
