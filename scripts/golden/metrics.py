"""Golden values of BLEU, ROUGE, the 13a tokenizer and the stemmer (tests/metrics.rs). Needs sacrebleu, rouge-score, nltk.

    python scripts/golden/metrics.py     # writes tests/golden/metrics.json
"""

import json
import random
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from sacrebleu import corpus_bleu, sentence_bleu
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
random.seed(13)

WORDS = """the cat sat on a mat , . ! ? 's it's don't 3.14 1,000 20-30 -- ( approx. ) $5 &amp; "quoted" U.S.A. e.g. end-of-line
running flies happily relational generalizations Élan naïve straße 東京 a_b x/y C++ <tag> 50% news dying [1] {z} ~ ^ ` \\ | @home #1
said policies was has trees gunman killed police kill lazy dogs quick brown fox jumped over jumps""".split()
ROOTS = """agree allow activ adjust angular bowdler brows callous capabl caress ceas commun conform control cry decis defens depend die
digit effect electr enjoy fail feudal fizz form formal general geo god gyroscop happ hesit hiss homolog hop hope infer inn irrit lie
meet motor oper organ plaster pon predic probat radic rat relat replac reviv roll sens sing siz sky spy tann theo tie tr troubl valid
vietnam vile x2 y yyy zoo 42 abc1""".split()
SUFFIXES = """ s es ies ied eed ed ing y ly ational tional enci anci izer bli alli entli eli ousli ization ation ator alism iveness
fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion
tion sion ou ism ate iti ous ive ize e ll lls ying yed""".split(" ")


def text(n):
    return "".join(random.choice(WORDS) + random.choice([" ", " ", " ", "  ", "\n", "", "-\n"]) for _ in range(n))


def edited(words):
    out = []
    for word in words.split(" "):
        kind = random.random()
        if kind < 0.7:
            out.append(word)
        elif kind < 0.85:
            out.append(random.choice(WORDS))
    return " ".join(out)


def pair():
    reference = text(random.randint(1, 25))
    hypothesis = edited(reference) if random.random() < 0.8 else text(random.randint(0, 12))
    return hypothesis, reference


def bleu(hypothesis, references, effective):
    return round(sentence_bleu(hypothesis, references, use_effective_order=effective).score, 10)


ROUGES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SCORERS = [rouge_scorer.RougeScorer(ROUGES, use_stemmer=stem) for stem in (False, True)]


def rouges(target, prediction):
    """F1 of each, then of each with stems."""
    scores = [scorer.score(target, prediction) for scorer in SCORERS]
    return [round(score[name].fmeasure, 10) for score in scores for name in ROUGES]


def main():
    pairs = []
    for _ in range(200):
        h, r = pair()
        pairs.append([h, r, bleu(h, [r], True), bleu(h, [r], False), *rouges(r, h)])
    several = []
    for _ in range(30):
        h, r = pair()
        references = [r, edited(r), text(random.randint(1, 12))]
        several.append([h, references, bleu(h, references, True)])
    tokenize, stemmer = Tokenizer13a(), PorterStemmer()
    texts = [text(random.randint(1, 8)) for _ in range(60)]
    texts += ["".join(chr(random.randint(32, 126)) for _ in range(40)) for _ in range(40)]
    texts += ["<skipped>a b", "1.2.3,4,.5.", "a..b,,c", "5-6-7 a-5-b", "&quot;&amp;lt;", "a\u00a0b\u3000c\u2028d\x1ce"]
    words = sorted({root + suffix for root in ROOTS for suffix in random.sample(SUFFIXES, 12)} | set(stemmer.pool))
    corpora = []
    for n, n_references in [(1, 1), (2, 1), (3, 2), (10, 1), (40, 1), (40, 3)]:
        first = [pair() for _ in range(n)]
        hypotheses = [h for h, _ in first]
        streams = [[r for _, r in first]] + [[edited(r) for _, r in first] for _ in range(n_references - 1)]
        corpora.append([hypotheses, list(zip(*streams)), round(corpus_bleu(hypotheses, streams).score, 10)])
    for hypotheses, references in [(["", "a b"], ["a b c", "x"]), (["a", "b c d"], ["a", "b c d"]), (["", ""], ["a", "b"])]:
        corpora.append([hypotheses, [[r] for r in references], round(corpus_bleu(hypotheses, [references]).score, 10)])
    golden = {
        "corpora": corpora,
        "pairs": pairs,
        "several": several,
        "tokens": [[t, tokenize(t.rstrip()).split()] for t in texts],
        "stems": [[w, stemmer.stem(w)] for w in words if len(w) > 3],
    }
    path = GOLDEN / "metrics.json"
    path.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(path.stat().st_size, {k: len(v) for k, v in golden.items()})


if __name__ == "__main__":
    main()
