"""Golden values of the model, its adapters and its training. Needs torch, transformers, peft, tokenizers, safetensors.

    python scripts/golden/tiny_llama.py        # writes tests/golden/tiny-llama/

Three random LLaMAs saved by transformers (d 32, 4 heads, 2 key/value heads, vocabulary 96):
  tied/    2 layers, tied embeddings, f32, tokenizer, chat template
  untied/  3 layers, own head, head_dim 16 (wider than d / heads), f32 in shards
  llama3/  2 layers, llama3 RoPE scaling in `rope_parameters`, bf16
and two adapters on tied/ saved by PEFT: adapter/ (q, v, gate, down; r 4), rslora/ (all seven; r 3, rank-stabilised).

logits.safetensors   ids [N], lens [B]: ragged prompts, one after another; logits [N, V] named `tied`, `untied`, `llama3`,
                     `adapter`, `adapter_merged`, `rslora`; `linear` is tied/ with linear RoPE scaling by 2.5.
train.safetensors    ids [N], lens [B], prompt_lens [B]: labels are the tokens of a sequence from its prompt_len on.
                     Base tied/, start adapter/, torch.optim.AdamW(lr 1e-2, betas (0.9, 0.999), eps 1e-8, weight_decay 0.1
                     on every parameter), the same batch at every step, loss = mean NLL over all labels of the batch.
                       loss [10]              before each step
                       grad.<key>             of the first loss, <key> as in adapter_model.safetensors
                       step<1..10>.<key>      parameters after each step
                       full_loss, full_grad.<name>   the same batch and loss for the bare base, every weight trainable
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tiny-llama"
VOCAB = 96
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def tokenizer():
    text = "the lamp, the stone and the boat are red. how many fish are in the lake? 0123456789: assistant user"
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    tok.train_from_iterator(
        [text] * 3,
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=list("abcdefghijklmnopqrstuvwxyz.,:?"),
            show_progress=False,
        ),
    )
    assert tok.get_vocab_size() <= VOCAB
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


def config(**kw):
    base = dict(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
    )
    return LlamaConfig(**{**base, **kw})


def random_model(seed, **kw):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config(**kw)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.mul_(1 + 0.2 * torch.randn_like(p))
    return model


def ragged(lens, gen):
    return [torch.randint(3, VOCAB, (n,), generator=gen) for n in lens]


def logits(model, seqs):
    with torch.no_grad():
        return torch.cat([model(s[None]).logits[0].float() for s in seqs]).contiguous()


def adapter(base, seed, **kw):
    torch.manual_seed(seed)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **kw))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1)
    return model.eval()


def nll_mean(model, seqs, prompt_lens):
    total, count = 0.0, 0
    for s, n in zip(seqs, prompt_lens):
        logp = model(s[None]).logits[0, n - 1 : -1].log_softmax(-1)
        total = total - logp.gather(1, s[n:, None]).sum()
        count += len(s) - n
    return total / count


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    gen = torch.Generator().manual_seed(5)
    lens = [5, 1, 13, 40, 2]
    seqs = ragged(lens, gen)
    golden = {"ids": torch.cat(seqs), "lens": torch.tensor(lens)}

    random_model(1).save_pretrained(OUT / "tied")
    tokenizer().save_pretrained(OUT / "tied")
    untied = dict(num_hidden_layers=3, tie_word_embeddings=False, head_dim=16)
    random_model(2, **untied).save_pretrained(OUT / "untied", max_shard_size="60KB")
    llama3 = dict(
        max_position_embeddings=256,
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=500000.0,
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    )
    random_model(3, **llama3).to(torch.bfloat16).save_pretrained(OUT / "llama3")
    for name in ["untied", "llama3"]:
        tokenizer().save_pretrained(OUT / name)
    load = lambda name: LlamaForCausalLM.from_pretrained(OUT / name, dtype=torch.float32).eval()
    for name in ["tied", "untied", "llama3"]:
        golden[name] = logits(load(name), seqs)
    linear = dict(rope_type="linear", rope_theta=10000.0, factor=2.5)
    model = LlamaForCausalLM.from_pretrained(OUT / "tied", config=config(rope_parameters=linear), dtype=torch.float32)
    golden["linear"] = logits(model.eval(), seqs)

    targets = ["q_proj", "v_proj", "gate_proj", "down_proj"]
    adapter(load("tied"), 4, r=4, lora_alpha=8, target_modules=targets).save_pretrained(OUT / "adapter")
    every = targets + ["k_proj", "o_proj", "up_proj"]
    adapter(load("tied"), 6, r=3, lora_alpha=5, target_modules=every, use_rslora=True).save_pretrained(OUT / "rslora")
    for name in ["adapter", "rslora"]:
        model = PeftModel.from_pretrained(load("tied"), OUT / name).eval()
        golden[name] = logits(model, seqs)
        if name == "adapter":
            golden["adapter_merged"] = logits(model.merge_and_unload(), seqs)
        (OUT / name / "README.md").unlink()
        config_file = OUT / name / "adapter_config.json"
        settings = json.loads(config_file.read_text().replace(str(OUT), "tiny-llama"))
        settings["target_modules"].sort()  # a set, which PEFT writes in any order
        config_file.write_text(json.dumps(settings, indent=2) + "\n")
    save_file(golden, OUT / "logits.safetensors")

    lens, prompt_lens = [9, 14, 4], [3, 6, 1]
    seqs = ragged(lens, gen)
    train = {"ids": torch.cat(seqs), "lens": torch.tensor(lens), "prompt_lens": torch.tensor(prompt_lens)}
    model = PeftModel.from_pretrained(load("tied"), OUT / "adapter", is_trainable=True)
    params = {n.replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(params.values(), lr=1e-2, weight_decay=0.1)
    losses = []
    for step in range(1, 11):
        optimizer.zero_grad()
        loss = nll_mean(model, seqs, prompt_lens)
        loss.backward()
        losses.append(loss.detach())
        if step == 1:
            train |= {f"grad.{n}": p.grad.clone() for n, p in params.items()}
        optimizer.step()
        train |= {f"step{step}.{n}": p.detach().clone() for n, p in params.items()}
    train["loss"] = torch.stack(losses)

    model = load("tied")
    loss = nll_mean(model, seqs, prompt_lens)
    loss.backward()
    train["full_loss"] = loss.detach()[None]
    train |= {f"full_grad.{n}": p.grad.clone() for n, p in model.named_parameters()}
    save_file(train, OUT / "train.safetensors")


if __name__ == "__main__":
    main()
