"""Golden values of every family of models. Needs torch, transformers, peft, tokenizers, safetensors,
gguf.

    python scripts/golden/families.py          # writes tests/golden/families/

A random model of each case below, saved by transformers: d 16, 4 heads, 2 key/value heads, vocabulary
64. Norms, biases, windows and RoPE scaling are not trivial. Each directory has
  config.json, model.safetensors, tokenizer.json   as transformers writes them
  adapter/            LoRA on every linear map (r 3; o_proj of layer 1 has r 5, down_proj another
                      alpha; rsLoRA in qwen3), saved by PEFT
  golden.safetensors  ids [N], lens [B]: ragged prompts, one after another; logits and adapter [N, V].
                      Loss = mean NLL of every token but the first of each prompt:
                        adapter_loss [1], adapter_grad.<key>   with the adapter trainable
                        full_loss [1], full_grad.<name>        the bare model, every weight trainable
                      greedy [n]: tokens that `generate` puts behind the first prompt, without sampling
  model.gguf          the same weights, f32, in the layout of llama.cpp's converter; of qwen3 in parts
  greedy.json         prompt and greedy tokens, for llama_cpp_greedy.mjs, beside model.gguf
"""

import json
import math
import shutil
from pathlib import Path

import gguf
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "families"
VOCAB = 64
LENS = [9, 2, 14, 40]
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.25],
    "long_factor": [1.5, 3.0],
}
CASES = {
    "llama-yarn": ("Llama", {"rope_parameters": {**YARN, "beta_fast": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5}}),
    "llama-yarn-plain": ("Llama", {"rope_parameters": YARN}),
    "llama-dynamic": ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}}),
    "mistral": ("Mistral", {"sliding_window": 6, "head_dim": 6}),
    "qwen2-window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "num_hidden_layers": 3},
    ),
    "qwen3": ("Qwen3", {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True}),
    "qwen3-plain": ("Qwen3", {"head_dim": 8}),
    "qwen3-window": (
        "Qwen3",
        {"head_dim": 4, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1, "rope_parameters": YARN},
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5, "pad_token_id": 0}),
    "smollm3-window": (
        "SmolLM3",
        {
            "num_hidden_layers": 3,
            "no_rope_layers": [0, 1, 0],
            "use_sliding_window": True,
            "sliding_window": 8,
            "pad_token_id": 0,
            "rope_parameters": {**YARN, "rope_theta": 2000.0},
        },
    ),
    "phi3": ("Phi3", {"pad_token_id": 0, "sliding_window": 6}),
    # llama.cpp knows no window of Phi-3, and has the long factors if its cache, of 256 tokens at least, is longer
    "phi3-512": (
        "Phi3",
        {
            "pad_token_id": 0,
            "head_dim": 8,
            "hidden_size": 32,
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 512,
            "partial_rotary_factor": 0.5,
            "rope_parameters": LONG,
        },
    ),
    "phi3-long": (
        "Phi3",
        {
            "pad_token_id": 0,
            "head_dim": 8,
            "hidden_size": 32,
            "original_max_position_embeddings": 16,
            "partial_rotary_factor": 0.5,
            "rope_parameters": LONG,
        },
    ),
}

GGUF = ("llama-yarn-plain", "mistral", "qwen3", "qwen3-plain", "smollm3", "phi3", "phi3-512", "phi3-long")


def random_model(seed, family, settings):
    torch.manual_seed(seed)
    common = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": family == "SmolLM3",
    }
    config = getattr(transformers, f"{family}Config")(**{**common, **settings})
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.mul_(1 + 0.3 * torch.randn_like(p))
            if name.endswith("bias"):
                p.normal_(0, 0.5)
    return model


def tokenizer():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, VOCAB)}
    tok = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def logits(model, seqs):
    with torch.no_grad():
        return torch.cat([model(s[None]).logits[0].float() for s in seqs]).contiguous()


def nll_mean(model, seqs):
    total, count = 0.0, 0
    for s in seqs:
        logp = model(s[None]).logits[0, :-1].log_softmax(-1)
        total = total - logp.gather(1, s[1:, None]).sum()
        count += len(s) - 1
    return total / count


def gradients(what, model, seqs):
    loss = nll_mean(model, seqs)
    loss.backward()
    named = {n.replace(".default", ""): p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    return {f"{what}_loss": loss.detach()[None]} | {f"{what}_grad.{n}": g.contiguous() for n, g in named.items()}


ARCHITECTURES = {"Llama": "llama", "Mistral": "llama", "Qwen3": "qwen3", "SmolLM3": "smollm3", "Phi3": "phi3"}
MODULES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "qkv_proj": "attn_qkv",
    "o_proj": "attn_output",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "gate_up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
TOP = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}


def write_gguf(model, family, out):
    config, rope = model.config, model.config.rope_parameters
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    parts = {"split_max_tensors": 12} if out.name == "qwen3" else {}
    w = gguf.GGUFWriter(out / "model.gguf", ARCHITECTURES[family], **parts)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    if family == "Mistral":
        w.add_sliding_window(config.sliding_window)
    if family == "Phi3":
        w.add_sliding_window(config.sliding_window or 0)  # as for Phi-4
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "longrope":
        original = config.original_max_position_embeddings
        w.add_rope_scaling_orig_ctx_len(original)
        factor = config.max_position_embeddings / original
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(factor) / math.log(original)))
        w.add_tensor("rope_factors_short.weight", torch.tensor(rope["short_factor"]).numpy())
        w.add_tensor("rope_factors_long.weight", torch.tensor(rope["long_factor"]).numpy())
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(["<unk>", "<s>", "</s>", "a", "b", "ab"] + [f"w{i}" for i in range(6, VOCAB)])
    w.add_token_merges(["a b"])
    w.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (VOCAB - 3))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    for name, p in model.named_parameters():
        *_, module, what = name.split(".")
        data = p.detach()
        if module in ("q_proj", "k_proj") and ARCHITECTURES[family] in ("llama", "smollm3"):
            heads = data.shape[0] // head_dim
            rows = data.reshape(heads, 2, head_dim // 2, *data.shape[1:])
            data = rows.swapaxes(1, 2).reshape(data.shape)
        block = f"blk.{name.split('.')[2]}." if ".layers." in name else ""
        w.add_tensor(f"{block}{(MODULES if block else TOP)[module]}.{what}", data.contiguous().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def save_adapter(model, out, name):
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=3,
        lora_alpha=6,
        target_modules="all-linear",
        rank_pattern={"layers.1.self_attn.o_proj": 5},
        alpha_pattern={"down_proj": 9},
        use_rslora=name == "qwen3",
    )
    model = get_peft_model(model, config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.normal_(0, 0.2)
    model.save_pretrained(out)
    (out / "README.md").unlink()
    file = out / "adapter_config.json"
    settings = json.loads(file.read_text().replace(str(OUT), "families"))
    settings["target_modules"].sort()  # a set, which PEFT writes in any order
    file.write_text(json.dumps(settings, indent=2) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    fast = tokenizer()
    gen = torch.Generator().manual_seed(6)
    seqs = [torch.randint(3, VOCAB, (n,), generator=gen) for n in LENS]
    for seed, (name, (family, settings)) in enumerate(CASES.items()):
        out = OUT / name
        random_model(seed, family, settings).save_pretrained(out)
        fast.save_pretrained(out)
        load = lambda: AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
        golden = {"ids": torch.cat(seqs), "lens": torch.tensor(LENS), "logits": logits(load(), seqs)}
        model = load()
        model.generation_config.eos_token_id = None
        n = 7 if name == "phi3-long" else 24  # 9 + 7 tokens have the short frequencies
        greedy = model.generate(seqs[0][None], max_new_tokens=n, do_sample=False, pad_token_id=0)
        golden["greedy"] = greedy[0, LENS[0] :].contiguous()
        torch.manual_seed(100 + seed)
        save_adapter(load(), out / "adapter", name)
        model = PeftModel.from_pretrained(load(), out / "adapter", is_trainable=True).eval()
        golden["adapter"] = logits(model, seqs)
        golden |= gradients("adapter", model, seqs)
        golden |= gradients("full", load(), seqs)
        save_file(golden, out / "golden.safetensors")
        if name in GGUF:
            write_gguf(load(), family, out)
            greedy = {"prompt": seqs[0].tolist(), "greedy": golden["greedy"].tolist()}
            (out / "greedy.json").write_text(json.dumps(greedy) + "\n")
        print(name, golden["greedy"].tolist())


if __name__ == "__main__":
    main()
