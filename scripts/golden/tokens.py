"""Ids of 500 difficult texts by real tokenizers -> tests/golden/token-texts.json, token-ids.json. Needs transformers,
tokenizers, gguf.

    python scripts/golden/tokens.py .models                # writes both files
    python scripts/golden/tokens.py .models qwen3 17       # prints text 17 and its ids by one tokenizer

The texts come from one seed. Of each text and tokenizer, token-ids.json holds 8 hexadecimal digits of two SHA-256: of
the ids (little-endian u32, those without and then those with special tokens), and of what the former decode to. The
reference of a Hugging Face directory is the tokenizers package on its tokenizer.json with the added tokens of
tokenizer_config.json; that of Qwen's GGUF file is the directory qwen2_5, whose vocabulary and merges it shares; that of
SmolLM2's GGUF file, whose directory is in no package, is transformers' conversion of the file with each digit apart, as
its name "smollm" of a pre-tokenizer asks and the conversion leaves out. llama_cpp_ids.mjs asks llama.cpp: it gives the
same ids for all texts. (For Qwen's file neither is a reference: both leave out NFC.)
"""

import hashlib
import importlib.metadata
import json
import random
import sys
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, pre_tokenizers

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEED, N_TEXTS = 20261201, 500

WORDS = {
    "latin": "the Quick brown naïve café façade Straße ǅungla İstanbul ĳs ŉ ﬁne Ångström coöperate don't x ſs ẞ Æon".split(),
    "greek": "Ελλάδα φιλοσοφία ΣΊΣΥΦΟΣ ὕβρις ᾧ ς".split(),
    "cyrillic": "привет МИР Україна ћирилица ёлка ѣ ԓ".split(),
    "cjk": "你好 世界 漢字 東京都 ひらがな カタカナ ｶﾞ 한국어 〇 龥 鿿 々 ー 𠮷 ㍿ ！？ 「引用」".split(),
    "indic": "हिन्दी क्षत्रिय বাংলা தமிழ் ಕನ್ನಡ മലയാളം ไทยแลนด์ ភាសាខ្មែរ မြန်မာ བོད་ཡིག".split(),
    "rtl": "שָׁלוֹם עולם العَرَبِيَّة مرحبا ﷽ ڕۆژباش ܫܠܡܐ ދިވެހި ﻼ".split(),
    "other": "ქართული Հայերեն አማርኛ ᏣᎳᎩ ᚠᚢᚦ ⲁⲃⲅ ꙮ ߒߞߏ ᠮᠣᠩᠭᠣᠯ ⴰⵎⴰⵣⵉⵖ".split(),
    "astral": "𝐀𝐛𝐜 𝟘𝟙𝟚 𐌰𐌱 𒀀𒁀 𓀀 𐐨𐐀 𞤀𞤢 𝕏 🄰 𑄀𑄁𑄂 𐒰𐓘 𖹀𖹠 𞀀 𐞀".split(),
    "new": "\u1c89\u1c8a \ua7cb \ua7da \u0870\u08c8 \U0001df00 \U00010d50\U00010d70 \U000323b0 \u2c2f\u2c5f \U00016d40 \U0001e5d0".split(),
}
EMOJI = "👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🏴‍☠️ 🇩🇪🇫🇷🇯 👩🏿‍🚀 ❤️ ❤ 1️⃣ #️⃣ ☕︎ 🫠 🐻‍❄️ 🧑🏻‍❤️‍💋‍🧑🏿 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🪿 😀😀😀 ‍ ️".split(" ")
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\t\t ", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029"]
SPACES += ["\u0085", "\u200b", "\u200d", "\ufeff", "\x0b", "\x0c", "\u1680", "\u180e", "\u202f", "\u205f", "\u2060", "\x1c", "\x1f"]
DIGITS = "0123456789 ٠١٢٣٤٥٦٧٨٩ ०१२३४५ ０１２３ ²³¹ ⅓½ Ⅷⅷ ①⑳ 𝟎𝟏 〇一二三 ௧௨ ៣ 𐄇 ৳".split()
CONTRACTED = ["I'm", "don't", "WE'LL", "They'Ve", "it'S", "you'RE", "he'd", "HE'D", "'tis", "o'clock", "’s", "it’s", "'\u017f", "IT'\u017f"]
CONTRACTED += ["'\u212aey", "rock'n'roll", "''s", "'s's", "x'LLama", "'Ve\u0301", "\u2018ll", "a'\u2019re", "1's", " 's", "\n're", "_'m"]
LOOKALIKES = "<s> </s> <unk> <pad> <bos> <eos> <|im_start|> <|im_end|> <|endoftext|> <|eot_id|> <|begin_of_text|> <|end_of_text|>"
LOOKALIKES += " <|start_header_id|> <|IM_END|> <|im_end| <im_end|> <|im_|im_end|>end|> [INST] [/INST] <<SYS>> <0x0A> <0xFF> <|fim_prefix|>"
LOOKALIKES += " <tool_call> </tool_call> <think> </think> <start_of_turn> <end_of_turn> <unused7> <|reserved_special_token_0|> [TOOL_CALLS]"
LOOKALIKES += " <｜begin▁of▁sentence｜> <｜User｜> <|EOT|> <|return|> <|channel|> ▁ ▁▁the Ġ Ċ ĠĠ â <h1> <table> [multimodal] ##ing </w> @@ <jupyter_code>"
LOOKALIKES = LOOKALIKES.split() + ["< s>", "<|im_end |>", "< /s >", "<s></s><s>", "<|im_start|>user\n", "a<|im_end|>b", "  </s>  ", "<\u200bs>"]
CODE = [
    "def f(x):\n    return x ** 2  # squared\n", "for(;;){if(a&&b||!c){++i;}}", "\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n",
    "https://example.org/a_b-c?q=1&r=%20#frag", "user.name+tag@example.co.uk", "0xDEADBEEF 1e-10 3.14f 1_000_000 0b1010", "a->b::c<T>();",
    '{"k": [1, null, "\\u00e9\\n"], "e": {}}', "SELECT * FROM t WHERE a<>'b''c';--", "^(?:[a-z]+|\\d{2,})*$", "\\frac{a}{b} $x^2$ \\\\",
    "aGVsbG8gd29ybGQ9PQ==", "#!/bin/sh\nset -e;\n\n\n", "camelCaseHTTPServer snake_case__dunder__ kebab-case", "<div class=\"a\">&nbsp;</div>",
    "///======---***...!!!???", "C:\\Users\\x\\n", "~~~```${}@%^", "/*\n * x\n */", "....\n\n....//\n/", "λ x → ∀y ∃z ≠ ∞ ∑ √ ¬",
]  # fmt: skip
CONTROL = [chr(c) for c in [*range(0x20), *range(0x7F, 0xA0)]] + ["\u00ad", "\ufffd", "\ufffe", "\uffff", "\ue000", "\U000f0000", "\U0010ffff"]
CONTROL += ["\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ufff9", "\U000e0001", "\u0378", "\u0600", "\u06dd"]
MARKS = [chr(c) for c in [*range(0x300, 0x330), 0x345, 0x483, 0x488, 0x5B7, 0x64B, 0x93C, 0x20DD, 0x302A, 0x3099, 0xFE0F, 0x1D165, 0x1E8D0]]


def words(rng, n):
    return [rng.choice(WORDS[rng.choice(list(WORDS))]) for _ in range(n)]


def spaced(rng, parts):
    gaps = [" "] * len(SPACES) + SPACES + [""] * 6
    return "".join(part + rng.choice(gaps) for part in parts)


def marked(rng):
    base = rng.choice(["e", "a", "Å", "ế", "가", "각", "が", "ö̲", "ﬁ", "ʼn", "Ω", "क़", "ཱི", "𝅗𝅥", "q", "1", "."])
    marks = "".join(rng.choice(MARKS) for _ in range(rng.choice([0, 1, 1, 2, 3, 8])))
    return unicodedata.normalize(rng.choice(["NFC", "NFD", "NFC", "NFKC", "NFKD"]), base + marks) + rng.choice(["", marks])


def anywhere(rng):
    planes = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000), (0x20000, 0x110000)]
    return chr(rng.randrange(*rng.choice(planes)))


def long_word(rng):
    unit = rng.choice(["a", "ab", "the", "é", "漢", "अ", "👍", "=", "-", " ", "\n", "0", "A1", "\u0301", "ſ"])
    return unit * rng.randrange(20, 200)


KINDS = {
    "mixed scripts": lambda rng: spaced(rng, words(rng, rng.randrange(2, 9))),
    "emoji": lambda rng: spaced(rng, [rng.choice(EMOJI) for _ in range(rng.randrange(1, 6))]),
    "combining marks": lambda rng: spaced(rng, [marked(rng) for _ in range(rng.randrange(1, 8))]),
    "spaces": lambda rng: "".join(rng.choice([*SPACES, *SPACES, "a", "B.", "1"]) * rng.choice([1, 1, 2, 5]) for _ in range(rng.randrange(1, 12))),
    "digits": lambda rng: "".join(rng.choice([*DIGITS[rng.randrange(len(DIGITS))], rng.choice("., -/:a")]) for _ in range(rng.randrange(1, 30))),
    "contractions": lambda rng: spaced(rng, [rng.choice(CONTRACTED) for _ in range(rng.randrange(1, 7))]),
    "one script": lambda rng: spaced(rng, rng.choices(WORDS[rng.choice(list(WORDS))], k=rng.randrange(1, 9))),
    "control characters": lambda rng: "".join(rng.choice([*CONTROL, "a", "Zz", " "]) for _ in range(rng.randrange(1, 16))),
    "special tokens and what looks like them": lambda rng: spaced(rng, [rng.choice(LOOKALIKES) for _ in range(rng.randrange(1, 6))]),
    "long words": long_word,
    "any characters": lambda rng: "".join(anywhere(rng) for _ in range(rng.randrange(1, 16))),
    "code": lambda rng: spaced(rng, [rng.choice(CODE) for _ in range(rng.randrange(1, 4))]),
}


def mixture(rng):
    parts = []
    for _ in range(rng.randrange(2, 5)):
        text = rng.choice(list(KINDS.values()))(rng)
        at = rng.randrange(max(1, len(text)))
        parts.append(text[at : at + rng.randrange(1, 30)])
    return "".join(parts)


def texts():
    rng = random.Random(SEED)
    kinds = [*KINDS.values(), mixture, mixture, mixture]
    found = ["", " ", "\n", "a", " a", "\u0301", "\ufeff", "'s"]
    while len(found) < N_TEXTS:
        text = kinds[len(found) % len(kinds)](rng)
        if text not in found:
            found.append(text)
    return found


def directory(path):
    """The tokenizer of a directory, with the added tokens that only tokenizer_config.json has."""
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    for at, token in sorted(config.get("added_tokens_decoder", {}).items(), key=lambda item: int(item[0])):
        if tokenizer.token_to_id(token["content"]) is None:
            flags = {k: token[k] for k in ("lstrip", "rstrip", "normalized", "single_word", "special")}
            tokenizer.add_tokens([AddedToken(token["content"], **flags)])
            assert tokenizer.token_to_id(token["content"]) == int(at), token
    return tokenizer


def references(models):
    """Name, tokenizer, and what it is."""
    for path in sorted((models / "tokenizers").iterdir()):
        yield path.name, directory(path), "tokenizers"
    yield "qwen2.5-coder-0.5b-instruct.gguf", directory(models / "tokenizers" / "qwen2_5"), "qwen2_5 by tokenizers"
    yield "smollm2-135m-instruct.gguf", smollm2(models), "transformers' conversion, digits apart; llama.cpp"


def smollm2(models):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models, gguf_file="smollm2-135m-instruct.gguf").backend_tokenizer
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_of_words])
    if (models / "llama-cpp-ids.json").exists():
        by_llama_cpp = json.loads((models / "llama-cpp-ids.json").read_text())
        assert by_llama_cpp == [encode(tokenizer, text)[0] for text in texts()]
        print("llama.cpp gives the same ids")
    return tokenizer


def hashed(data):
    return hashlib.sha256(data).hexdigest()[:8]


def encode(tokenizer, text):
    plain, whole = (tokenizer.encode(text, add_special_tokens=add).ids for add in (False, True))
    return plain, whole, tokenizer.decode(plain, skip_special_tokens=False)


def main():
    models, wanted = Path(sys.argv[1]), sys.argv[2:]
    rows = texts()
    golden = {"seed": SEED, "versions": {n: importlib.metadata.version(n) for n in ("tokenizers", "transformers", "gguf")}}
    golden["tokenizers"] = {}
    for name, tokenizer, reference in references(models):
        if wanted:
            if name == wanted[0]:
                text = rows[int(wanted[1])]
                print(ascii(text), *encode(tokenizer, text), sep="\n")
            continue
        ids, decoded = "", ""
        for text in rows:
            plain, whole, back = encode(tokenizer, text)
            ids += hashed(b"".join(id.to_bytes(4, "little") for id in plain + whole))
            decoded += hashed(back.encode())
        golden["tokenizers"][name] = {"reference": reference, "ids": ids, "decoded": decoded}
    if not wanted:
        (GOLDEN / "token-texts.json").write_text(json.dumps(rows, indent=0) + "\n")
        (GOLDEN / "token-ids.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
