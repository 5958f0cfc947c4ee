"""Random rows of every shape of data, and what each means: messages, pairs or prompts.

Used by shapes.py. Needs Python alone. A maker returns the row as its file has it, and its records
in the only form that the references are given: a list of messages (`demonstrations`, `prompts`),
or prompt messages with a better and a worse answer (`preferences`).
"""

import random

SEED = 20260309
N_ROWS = 200
WORDS = (
    "river station bread window paper letter garden market winter copper signal letter quiet early "
    "seven the of and in with from over below until because count measure answer compare open"
).split()
SCRIPTS = [
    "Straße über naïve façade Łódź œuvre".split(),
    "Привет мир ещё съезд".split(),
    "今日は 晴れ 漢字 カタカナ 한국어".split(),
    "مرحبا עולם हिन्दी ไทย".split(),
    "👍🏽 👩‍🚀 🇫🇷 → ≠ ½ “quoted” — …".split(),
]
CODE = [
    "```python\ndef f(x):\n    return x ** 2\n```",
    "```\n$ ls -l | wc\n\n\n3\n```",
    "x = {'a': [1, None]}\n\tif x: pass",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "SELECT * FROM t WHERE a <> 'b';",
]
SYSTEMS = [
    "Be brief.",
    "You answer in one line.\n\nBe kind.",
    "Sie antworten auf Deutsch.",
    "  Be exact. ",
]
NO_THINK = "Answer at once. /no_think"


def sentence(rng):
    words = [rng.choice(WORDS) for _ in range(rng.randrange(3, 9))]
    if rng.random() < 0.3:
        words.insert(rng.randrange(len(words)), rng.choice(rng.choice(SCRIPTS)))
    if rng.random() < 0.2:
        words.insert(rng.randrange(1, len(words)), str(rng.randrange(10 ** rng.randrange(1, 7))))
    return " ".join(words).capitalize()


def question(rng):
    """The text of a user: now and then with white space around it, which is kept."""
    text = sentence(rng) + rng.choice(["?", "?", ".", ":", " …"])
    if rng.random() < 0.15:
        text += "\n\n" + rng.choice(CODE)
    draw = rng.random()
    return "  " + text if draw < 0.05 else text + " \n" if draw < 0.1 else text


def answer(rng):
    """The text of an assistant, without white space around it; see `messages_blanks`."""
    kind = rng.random()
    if kind < 0.15:
        return rng.choice([str(rng.randrange(1000)), "Yes.", "“" + sentence(rng) + "”", "👍", "ß"])
    if kind < 0.3:
        return "\n".join(f"{i}. {sentence(rng)}" for i in range(1, rng.randrange(3, 5)))
    if kind < 0.45:
        return sentence(rng) + ":\n\n" + rng.choice(CODE)
    gap, n_sentences = rng.choice([" ", "\n\n", "\n"]), rng.randrange(1, 4)
    return gap.join(sentence(rng) + "." for _ in range(n_sentences))


def system(rng):
    """None, empty or a text."""
    return rng.choice([None, None, None, "", NO_THINK, *SYSTEMS])


def say(role, content):
    return {"role": role, "content": content}


def turns(rng, n_answers):
    """User and assistant by turns; ends with an answer."""
    texts = [(say("user", question(rng)), say("assistant", answer(rng))) for _ in range(n_answers)]
    return [message for pair in texts for message in pair]


def some_turns(rng):
    return turns(rng, rng.choice([1, 1, 2, 2, 3]))


def with_system(text, messages, empty_too=False):
    """The system turn first. A field that is empty is none; a turn that is empty is a turn."""
    if text is None or (text == "" and not empty_too):
        return messages
    return [say("system", text), *messages]


def two_answers(rng):
    one = answer(rng)
    while (other := answer(rng)) == one:
        pass
    return one, other


# Demonstrations.


def messages(rng):
    made = with_system(system(rng), some_turns(rng), empty_too=True)
    row = {"messages": [dict(m) for m in made]}
    if rng.random() < 0.3:
        row["tools"] = rng.choice([None, []])
        for message in row["messages"]:
            message |= {"name": None, "tool_calls": None}
    return row, [made]


def messages_blanks(rng):
    """White space around the texts of assistants too: where programs differ."""
    made = with_system(system(rng), some_turns(rng), empty_too=True)
    for message in made:
        if message["role"] == "assistant":
            before, after = (
                rng.choice(["", "", " ", "\n", "\n\n"]),
                rng.choice(["", " ", "\n", "\n\n"]),
            )
            message["content"] = before + message["content"] + after
    return {"messages": made}, [made]


def parts_of(rng, text):
    cut = sorted(rng.randrange(len(text) + 1) for _ in range(rng.choice([0, 0, 1, 2])))
    bounds = [0, *cut, len(text)]
    return [{"type": "text", "text": text[a:b]} for a, b in zip(bounds, bounds[1:])]


def messages_parts(rng):
    made = with_system(system(rng) or None, some_turns(rng))
    return {"messages": [say(m["role"], parts_of(rng, m["content"])) for m in made]}, [made]


def sharegpt(rng):
    """Role names of all kinds, the system prompt in a turn or in a field."""
    text, made = system(rng), some_turns(rng)
    user = rng.choice(["human", "human", "user"])
    model = rng.choice(["gpt", "gpt", "assistant", "chatgpt", "bing", "bard", "model"])
    names = {"user": user, "assistant": model, "system": "system"}
    beside = rng.random() < 0.4
    whole = with_system(text, made, empty_too=not beside)
    listed = made if beside else whole
    row = {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in listed]}
    if beside and text is not None:
        row["system"] = text
    if rng.random() < 0.2:
        row["tools"] = rng.choice(["", "[]"])
    return {"id": f"c{rng.randrange(10**6)}"} | row, [whole]


def alpaca(rng):
    """LLaMA-Factory's, with `system` and `history`."""
    text, before, (ask, reply) = system(rng), turns(rng, rng.choice([0, 0, 1, 2])), turns(rng, 1)
    row = {"instruction": ask["content"], "output": reply["content"]}
    if rng.random() < 0.5:
        row["input"] = rng.choice(["", question(rng), question(rng)])
    if text is not None:
        row["system"] = text
    if before or rng.random() < 0.5:
        row["history"] = [[a["content"], b["content"]] for a, b in zip(before[::2], before[1::2])]
    asked = (
        "\n\n".join([ask["content"], row.get("input", "")]) if row.get("input") else ask["content"]
    )
    return row, [with_system(text, [*before, say("user", asked), reply])]


def prompt_completion(rng):
    """Plain texts; the completion begins with a blank or with a word, as both are in use."""
    row = {"prompt": question(rng).rstrip(), "completion": rng.choice(["", " "]) + answer(rng)}
    return row, [[say("user", row["prompt"]), say("assistant", row["completion"])]]


def prompt_completion_messages(rng):
    made = with_system(system(rng), some_turns(rng), empty_too=True)
    return {"prompt": made[:-1], "completion": made[-1:]}, [made]


def transcript(made):
    names = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
    return "".join(names[m["role"]] + m["content"] for m in made)


def stripped(made):
    return [say(m["role"], m["content"].strip()) for m in made]


def transcripts(rng):
    made = stripped(some_turns(rng))
    row = {
        "prompt": transcript(made[:-1]) + "\n\nAssistant:",
        "completion": " " + made[-1]["content"],
    }
    return row, [made]


def kto(rng):
    ask, reply = turns(rng, 1)
    row = {"prompt": ask["content"], "completion": reply["content"], "label": rng.random() < 0.5}
    return row, [[ask, reply]]


def kto_messages(rng):
    row, [made] = prompt_completion_messages(rng)
    return row | {"label": rng.random() < 0.5}, [made]


# Prompts.


def prompts(rng):
    made = with_system(system(rng), some_turns(rng)[:-1], empty_too=True)
    return {"prompt": made}, [made]


def fastchat(rng):
    texts = [question(rng) for _ in range(rng.choice([1, 2]))]
    row = {"question_id": rng.randrange(10**6), "category": "generic"}
    row |= {"text": texts[0]} if len(texts) == 1 and rng.random() < 0.5 else {"turns": texts}
    return row, [[say("user", texts[0])]]


# Preferences.


def preference(rng):
    ask, (one, other) = question(rng).rstrip(), two_answers(rng)
    blank = rng.choice(["", " "])
    row = {"prompt": ask, "chosen": blank + one, "rejected": blank + other}
    return row, [([say("user", ask)], row["chosen"], row["rejected"])]


def preference_messages(rng):
    made, (one, other) = some_turns(rng)[:-1], two_answers(rng)
    made = with_system(system(rng), made, empty_too=True)
    row = {"prompt": made, "chosen": [say("assistant", one)], "rejected": [say("assistant", other)]}
    return row, [(made, one, other)]


def preference_implicit(rng):
    row, record = preference_messages(rng)
    whole = {name: row["prompt"] + row[name] for name in ("chosen", "rejected")}
    return whole, record


def llama_factory_preference(rng):
    row, [made] = alpaca(rng)
    one, other = two_answers(rng)
    del row["output"]
    return row | {"chosen": one, "rejected": other}, [(made[:-1], one, other)]


def llama_factory_sharegpt_preference(rng):
    text, made, (one, other) = system(rng), some_turns(rng)[:-1], two_answers(rng)
    names = {"user": "human", "assistant": "gpt"}
    row = {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in made]}
    row |= {"chosen": {"from": "gpt", "value": one}, "rejected": {"from": "gpt", "value": other}}
    if text is not None:
        row["system"] = text
    return row, [(with_system(text, made), one, other)]


def ultrafeedback_binarized(rng):
    """HuggingFaceH4's: `messages` repeats `chosen`."""
    ask, (one, other) = question(rng), two_answers(rng)
    scores = rng.sample(range(2, 21), 2)
    whole = {"chosen": [say("user", ask), say("assistant", one)]}
    whole["rejected"] = [say("user", ask), say("assistant", other)]
    row = {"prompt": ask, "prompt_id": f"{rng.getrandbits(64):016x}", **whole}
    row |= {
        "messages": whole["chosen"],
        "score_chosen": max(scores) / 2,
        "score_rejected": min(scores) / 2,
    }
    return row, [([say("user", ask)], one, other)]


def scored(rng, n):
    texts = []
    while len(texts) < n:
        if (text := answer(rng)) not in texts:
            texts.append(text)
    return [(text, rng.randrange(1, 11)) for text in texts]


def pairs_of(ask, answers):
    """Every pair of different scores: in the order of the first answer, then the second."""
    for i, (one, better) in enumerate(answers):
        for other, worse in answers[i + 1 :]:
            if better != worse:
                yield ([say("user", ask)], *((one, other) if better > worse else (other, one)))


def ultrafeedback(rng):
    """OpenBMB's. Both scores give the same order."""
    ask = question(rng)
    answers = scored(rng, rng.choice([2, 3]))
    completions = [
        {
            "model": f"m{i}",
            "principle": "helpfulness",
            "response": text,
            "overall_score": float(score),
        }
        | {"fine-grained_score": score / 2, "critique": "", "custom_system_prompt": ""}
        for i, (text, score) in enumerate(answers)
    ]
    row = {"source": "made", "instruction": ask, "models": [c["model"] for c in completions]}
    row |= {"completions": completions, "correct_answers": ["None"], "incorrect_answers": ["None"]}
    return row, list(pairs_of(ask, answers))


def hh(rng):
    made, (one, other) = stripped(some_turns(rng)[:-1]), two_answers(rng)
    row = {"chosen": transcript([*made, say("assistant", one)])}
    row["rejected"] = transcript([*made, say("assistant", other)])
    return row, [(made, one, other)]


def transcripts_preference(rng):
    made, (one, other) = stripped(some_turns(rng)[:-1]), two_answers(rng)
    row = {
        "prompt": transcript(made) + "\n\nAssistant:",
        "chosen": " " + one,
        "rejected": " " + other,
    }
    return row, [(made, one, other)]


def comparison_v1(rng):
    ask, (one, other) = question(rng), two_answers(rng)
    return {"user_input": ask, "completion_a": one, "completion_b": other}, [
        ([say("user", ask)], one, other)
    ]


def comparison_v2(rng):
    ask, answers = question(rng), scored(rng, rng.choice([2, 3]))
    listed = [
        {"response": text, "source": f"m{i}", "score": float(n)}
        for i, (text, n) in enumerate(answers)
    ]
    return {"user_input": ask, "responses_and_scores": listed}, list(pairs_of(ask, answers))


# Name -> maker and kind of record.
SHAPES = {
    "messages": (messages, "demonstrations"),
    "messages-blanks": (messages_blanks, "demonstrations"),
    "messages-parts": (messages_parts, "demonstrations"),
    "sharegpt": (sharegpt, "demonstrations"),
    "alpaca-history": (alpaca, "demonstrations"),
    "prompt-completion": (prompt_completion, "demonstrations"),
    "prompt-completion-messages": (prompt_completion_messages, "demonstrations"),
    "transcripts": (transcripts, "demonstrations"),
    "kto": (kto, "demonstrations"),
    "kto-messages": (kto_messages, "demonstrations"),
    "prompts": (prompts, "prompts"),
    "fastchat": (fastchat, "prompts"),
    "preference": (preference, "preferences"),
    "preference-messages": (preference_messages, "preferences"),
    "preference-implicit": (preference_implicit, "preferences"),
    "llama-factory-preference": (llama_factory_preference, "preferences"),
    "llama-factory-sharegpt-preference": (llama_factory_sharegpt_preference, "preferences"),
    "ultrafeedback-binarized": (ultrafeedback_binarized, "preferences"),
    "ultrafeedback": (ultrafeedback, "preferences"),
    "hh": (hh, "preferences"),
    "transcripts-preference": (transcripts_preference, "preferences"),
    "comparison-v1": (comparison_v1, "preferences"),
    "comparison-v2": (comparison_v2, "preferences"),
}


def first_question(record):
    made = record[0] if isinstance(record, tuple) else record
    last = max(i for i, m in enumerate(made) if m["role"] == "user")
    return "\n".join(m["content"] for m in made[: last + 1]).strip()


def rows_of(shape):
    """The shape's rows, each with its records. No two rows have the same prompt."""
    make, _ = SHAPES[shape]
    rng = random.Random(f"{SEED} {shape}")
    made, seen = [], set()
    while len(made) < N_ROWS:
        row, records = make(rng)
        if records and (key := first_question(records[0])) not in seen:
            seen.add(key)
            made.append((row, records))
    return made
