"""Do transformers and PEFT read what we write, and find the same logits? Needs torch, transformers, peft, safetensors.

    WICK_PEFT_OUT=/tmp/out cargo test --release -p wick-tests files_for_transformers_and_peft
    python scripts/golden/check_peft.py /tmp/out

Each directory of /tmp/out, one for each family of models, holds base/ and merged/ (Hugging Face), adapter/ (PEFT) and
logits.safetensors with our `ids`, `base`, `adapter` and `merged`. Prints the largest difference of each and fails above
1e-4 of the largest logit.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def differences(out):
    """(name, largest difference, largest logit) of every way to load what is in a directory."""
    ours = load_file(out / "logits.safetensors")
    load = lambda name: AutoModelForCausalLM.from_pretrained(
        out / name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    adapted = lambda: PeftModel.from_pretrained(load("base"), out / "adapter").eval()
    models = {
        "base": load("base"),
        "merged": load("merged"),
        "adapter": adapted(),
        "adapter, merged by PEFT": adapted().merge_and_unload(),
    }
    for name, model in models.items():
        with torch.no_grad():
            theirs = model(ours["ids"][None]).logits[0]
        wanted = ours[name.split(",")[0]]
        yield name, (theirs - wanted).abs().max().item(), theirs.abs().max().item()


def main():
    worst, root = 0.0, Path(sys.argv[1])
    cases = sorted(path for path in root.iterdir() if path.is_dir())
    if len(cases) < 10:
        sys.exit(f"{root} has {len(cases)} cases, not all that the test writes")
    for out in cases:
        found = list(differences(out))
        worst = max([worst] + [off / largest for _, off, largest in found])
        parts = ", ".join(f"{name} {off:.1e}" for name, off, _ in found)
        print(f"{out.name}: largest difference of logits up to {found[0][2]:.1f}: {parts}")
    tokenizer = AutoTokenizer.from_pretrained(root / "llama3" / "merged")
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "how many"}], tokenize=False, add_generation_prompt=True
    )
    print(f"tokenizer: bos {tokenizer.bos_token_id}, eos {tokenizer.eos_token_id}, chat {chat!r}")
    print(f"{len(cases)} directories, largest difference relative to the largest logit: {worst:.1e}")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
