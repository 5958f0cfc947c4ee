"""Golden values of Qwen2. Needs torch, transformers, peft, tokenizers, safetensors, gguf, numpy.

    python scripts/golden/tiny_qwen2.py        # writes tests/golden/tiny-qwen2/

Two random Qwen2 models saved by transformers (d 32, 4 heads, 2 key/value heads, 2 layers, vocabulary
of the byte-level tokenizer), whose q, k and v biases are not zero:
  tied/    tied embeddings
  untied/  own head
adapter/   LoRA on q, k and down of tied/ (r 3), saved by PEFT.
model.gguf tied/ in the layout of llama.cpp's converter: `qwen2.` keys, q and k rows as in Hugging Face's
           files, matrices F16, vectors F32, Qwen2's pre-tokenizer.

golden.safetensors   ids [N], lens [B]: ragged prompts, one after another; logits [N, V] named `tied`,
                     `untied`, `adapter`, `gguf` (tied/ with matrices rounded to f16).
                     Loss = mean NLL of every token but the first of each prompt:
                       adapter_loss [1], adapter_grad.<key>   with the adapter trainable
                       full_loss [1], full_grad.<name>        tied/ bare, every weight trainable
golden.json          texts with their ids under the tokenizer that model.gguf was made from.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tiny-qwen2"
TEXT = "the lamp, the stone and the boat are red. how many fish are in the lake? there were 1234 or 56 fishes, they said."
STRINGS = [
    "the lamp and the boat",
    "  how many  fish?",
    "they'll say 12345 THEM's",
    "cafe\u0301 \u4f60 \U0001f980",
    "line\n\nline\ttab ",
    "<|im_start|>the lake<|im_end|> red",
    "",
]
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer():
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2), "isolated")
    tok.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROLS])
    return tok, tokens + CONTROLS, [" ".join(m) for m in model["merges"]]


def random_model(seed, vocab, **kw):
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        initializer_range=0.2,
        bos_token_id=vocab - 3,
        eos_token_id=vocab - 1,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"},
        **kw,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.mul_(1 + 0.2 * torch.randn_like(p))
            if name.endswith("bias"):
                p.normal_(0, 0.5)
    return model


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


def write_gguf(model, tokens, merges):
    w = gguf.GGUFWriter(OUT / "model.gguf", "qwen2")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(2)
    w.add_feed_forward_length(56)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_rope_freq_base(1000000.0)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_merges(merges)
    kinds = [gguf.TokenType.CONTROL if t in CONTROLS else gguf.TokenType.NORMAL for t in tokens]
    w.add_token_types(kinds)
    w.add_bos_token_id(tokens.index("<|endoftext|>"))
    w.add_eos_token_id(tokens.index("<|im_end|>"))
    w.add_add_bos_token(False)
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    names |= {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    with torch.no_grad():
        for hf, p in model.named_parameters():
            kind = Q.F32 if p.dim() == 1 else Q.F16
            *_, module, what = hf.split(".")
            name = top.get(hf) or f"blk.{hf.split('.')[2]}.{names[module]}.{what}"
            packed = gguf.quants.quantize(np.ascontiguousarray(p.numpy()), kind)
            w.add_tensor(name, packed, raw_dtype=kind)
            p.copy_(torch.from_numpy(gguf.quants.dequantize(packed, kind)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    tok, tokens, merges = tokenizer()
    vocab = len(tokens)
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    gen = torch.Generator().manual_seed(5)
    lens = [5, 2, 13, 40]
    seqs = [torch.randint(3, vocab, (n,), generator=gen) for n in lens]
    golden = {"ids": torch.cat(seqs), "lens": torch.tensor(lens)}
    load = lambda name: Qwen2ForCausalLM.from_pretrained(OUT / name, dtype=torch.float32).eval()
    for seed, (name, tie) in enumerate([("tied", True), ("untied", False)]):
        random_model(seed, vocab, tie_word_embeddings=tie).save_pretrained(OUT / name)
        fast.save_pretrained(OUT / name)
        golden[name] = logits(load(name), seqs)

    torch.manual_seed(4)
    config = LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "down_proj"])
    model = get_peft_model(load("tied"), config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1)
    model.save_pretrained(OUT / "adapter")
    (OUT / "adapter" / "README.md").unlink()
    config_file = OUT / "adapter" / "adapter_config.json"
    settings = json.loads(config_file.read_text().replace(str(OUT), "tiny-qwen2"))
    settings["target_modules"].sort()  # a set, which PEFT writes in any order
    config_file.write_text(json.dumps(settings, indent=2) + "\n")

    model = PeftModel.from_pretrained(load("tied"), OUT / "adapter", is_trainable=True).eval()
    golden["adapter"] = logits(model, seqs)
    params = {n.replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    loss = nll_mean(model, seqs)
    loss.backward()
    golden["adapter_loss"] = loss.detach()[None]
    golden |= {f"adapter_grad.{n}": p.grad.clone() for n, p in params.items()}

    model = load("tied")
    loss = nll_mean(model, seqs)
    loss.backward()
    golden["full_loss"] = loss.detach()[None]
    golden |= {f"full_grad.{n}": p.grad.clone() for n, p in model.named_parameters()}

    model = load("tied")
    write_gguf(model, tokens, merges)
    golden["gguf"] = logits(model, seqs)
    save_file(golden, OUT / "golden.safetensors")
    texts = [{"text": s, "ids": tok.encode(s).ids} for s in STRINGS]
    (OUT / "golden.json").write_text(json.dumps(texts, indent=1) + "\n")


if __name__ == "__main__":
    main()
