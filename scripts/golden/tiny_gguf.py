"""Two tiny GGUF files and what they hold. Needs torch, transformers, tokenizers, gguf, numpy.

    python scripts/golden/tiny_gguf.py        # writes tests/golden/tiny-gguf/

Written with the gguf package in the layout of llama.cpp's converter (q and k rows permuted).
  spm.gguf  tied, SentencePiece-like BPE with byte fallback, weights Q8_0, norms F32
  bpe.gguf  own head, byte-level BPE with Llama 3's pre-tokenizer, rope_freqs.weight (factor 8), weights F16 and Q4_0

golden.json: per file, strings with their ids under the tokenizer it was made from, which is not read back from the file.
golden.safetensors: ids [1, 300]; per file the last eight rows of the logits of transformers' model holding the same
dequantised weights.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tiny-gguf"
TEXT = "the lamp, the stone and the boat are red. how many fish are in the lake? there were 1234 or 56 fishes, they said."
STRINGS = [
    "the lamp and the boat",
    "  how many  fish?",
    "they'll say 12345 THEM's",
    "caf\u00e9 \u4f60 \U0001f980",
    "line\n\nline\ttab ",
    "<|user|>the lake<|end|> red",
    "",
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROLS = ["<|user|>", "<|end|>"]


def spm_tokenizer():
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tok.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")  # for training only
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False)
    tok.train_from_iterator([TEXT] * 3, trainer)
    model = json.loads(tok.to_str())["model"]
    # SentencePiece knows a piece by its score; the merges of one piece are tried in the order of
    # their parts' ids
    vocab = {t: i for i, t in enumerate(sorted(model["vocab"], key=model["vocab"].get))}
    rank = {"".join(m): i for i, m in reversed(list(enumerate(model["merges"])))}
    splits = [(t[:i], t[i:]) for t in rank for i in range(1, len(t)) if t[:i] in vocab and t[i:] in vocab]
    merges = sorted(splits, key=lambda m: (rank["".join(m)], vocab[m[0]], vocab[m[1]]))
    tok.model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tok.pre_tokenizer = None
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ["<unk>", "<s>", "</s>"]])
    tok.add_tokens([AddedToken(t, normalized=False) for t in CONTROLS])
    tokens = list(vocab) + CONTROLS
    scores = [-float(rank[t]) if t in rank else (0.0 if t.startswith("<") else -1e4 - i) for i, t in enumerate(tokens)]
    return tok, tokens, scores


def bpe_tokenizer():
    tok = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    tok.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ["<s>", "</s>"] + CONTROLS])
    return tok, tokens + ["<s>", "</s>"] + CONTROLS, [" ".join(m) for m in model["merges"]]


def permute(w, heads):
    rows, cols = w.shape
    return w.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write(name, tokens, tied, pick, extra):
    torch.manual_seed(len(name) + tied)
    rope = dict(rope_theta=10000.0, rope_type="default")
    if name == "bpe":
        rope = dict(rope_theta=500000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
        rope |= dict(original_max_position_embeddings=8192)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        rope_parameters=rope,
    )
    model = LlamaForCausalLM(config).eval()
    w = gguf.GGUFWriter(OUT / f"{name}.gguf", "llama")
    w.add_context_length(512)
    w.add_embedding_length(32)
    w.add_block_count(2)
    w.add_feed_forward_length(64)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_rope_dimension_count(8)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(tokens))
    w.add_token_list(tokens)
    w.add_chat_template("{{ messages }}")
    extra(w)
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    names |= {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    top |= {"lm_head.weight": "output.weight"}
    with torch.no_grad():
        for hf, p in model.named_parameters():
            if "norm" in hf:
                p.mul_(1 + 0.2 * torch.randn_like(p))
            part = hf.split(".")[-2]
            kind = Q.F32 if p.dim() == 1 else pick(part)
            data = p.numpy()
            if part in ("q_proj", "k_proj"):
                data = permute(data, 4 if part == "q_proj" else 2)
            packed = gguf.quants.quantize(np.ascontiguousarray(data), kind)
            w.add_tensor(top.get(hf) or f"blk.{hf.split('.')[2]}.{names[part]}.weight", packed, raw_dtype=kind)
            p.copy_(torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(p.numpy(), kind), kind)))
    if name == "bpe":
        plain = 1 / 500000.0 ** (torch.arange(0, 8, 2) / 8)
        w.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return model


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    ids = torch.randint(0, 280, (1, 300), generator=torch.Generator().manual_seed(3))
    tensors, strings = {"ids": ids}, {}

    tok, tokens, scores = spm_tokenizer()
    kind = {"<unk>": 2, "<s>": 3, "</s>": 3, "<|user|>": 4, "<|end|>": 4}

    def spm(w):
        w.add_tokenizer_model("llama")
        w.add_token_scores(scores)
        w.add_token_types([kind.get(t, 6 if t.startswith("<0x") else 1) for t in tokens])
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
        w.add_unk_token_id(0)

    models_ = {"spm": write("spm", tokens, True, lambda part: Q.Q8_0, spm)}
    strings["spm"] = [{"text": s, "ids": tok.encode(s).ids} for s in STRINGS]

    tok, tokens, merges = bpe_tokenizer()

    def bpe(w):
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("llama-bpe")
        w.add_token_merges(merges)
        w.add_token_types([3 if t in ["<s>", "</s>"] + CONTROLS else 1 for t in tokens])
        w.add_bos_token_id(tokens.index("<s>"))
        w.add_eos_token_id(tokens.index("</s>"))
        w.add_eot_token_id(tokens.index("<|end|>"))

    models_["bpe"] = write("bpe", tokens, False, lambda part: Q.Q4_0 if "v_proj" in part else Q.F16, bpe)
    strings["bpe"] = [{"text": s, "ids": tok.encode(s).ids} for s in STRINGS]

    for name, model in models_.items():
        with torch.no_grad():
            tensors[name] = model(ids).logits[0, -8:].contiguous()
    save_file(tensors, OUT / "golden.safetensors")
    (OUT / "golden.json").write_text(json.dumps(strings, indent=1) + "\n")


if __name__ == "__main__":
    main()
