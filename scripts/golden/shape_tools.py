"""Random rows with tools, in OpenAI's form and in ShareGPT's. Used by tool_shapes.py. Needs Python
alone. A maker returns the row as its file has it, and what transformers gets: tools and messages.
"""

import json
import random

from shape_rows import N_ROWS, SCRIPTS, SEED, answer, question, say, sentence, system
from shape_rows import with_system

NOUNS = "weather route price order invoice photo calendar train".split()
VERBS = "get find list book cancel".split()
NUMBERS = [0, 7, -3, 2**40, 0.5, -1.0, 1e-07, 1e16, 1.5e300, 3.14]


def text(rng):
    """The text of an argument or result: quotes, line breaks and scripts now and then."""
    made = sentence(rng)
    return rng.choice([made, made, rng.choice(rng.choice(SCRIPTS)), f'"{made}"\n\t\\ </a>', ""])


def value(rng, depth=0):
    kind = rng.random()
    if depth < 2 and kind < 0.12:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 2 and kind < 0.22:
        return {f"k{i}": value(rng, depth + 1) for i in range(rng.randrange(3))}
    if kind < 0.5:
        return rng.choice([*NUMBERS, True, False])
    return text(rng)


def tool(rng, name):
    names = rng.sample(["city", "date", "größe", "max_price", "tags", "unit"], rng.randrange(4))
    properties = {
        n: {"type": "string", "description": sentence(rng)}
        | ({"enum": [text(rng), "b"]} if rng.random() < 0.3 else {})
        | ({"default": rng.choice(NUMBERS)} if rng.random() < 0.3 else {})
        for n in names
    }
    parameters = {"type": "object", "properties": properties, "required": names[:1]}
    made = {"name": name, "description": sentence(rng), "parameters": parameters}
    return {"type": "function", "function": made}


def tools(rng):
    names = [f"{v}_{n}" for v in VERBS for n in NOUNS]
    return [tool(rng, name) for name in rng.sample(names, rng.randrange(1, 4))]


def call(rng, known):
    name = rng.choice(known)["function"]["name"]
    arguments = {n: value(rng) for n in rng.sample(["city", "date", "n", "q"], rng.randrange(4))}
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made | ({"id": f"call_{rng.randrange(10**6)}"} if rng.random() < 0.5 else {})


def result(rng):
    return rng.choice([json.dumps({"a": value(rng)}, ensure_ascii=False), sentence(rng), "7"])


def conversation(rng, known, n_calls, texts):
    """Questions, each with calls, results and an answer; now and then the last turn is a call.
    `texts`: what an assistant may say beside a call."""
    made = []
    for _ in range(rng.choice([1, 1, 2])):
        made.append(say("user", question(rng)))
        for _ in range(rng.choice([0, 1, 1, 2])):
            calls = [call(rng, known) for _ in range(rng.choice(n_calls))]
            made.append(say("assistant", rng.choice(texts)) | {"tool_calls": calls})
            for one in calls:
                made.append(say("tool", result(rng)))
                if "id" in one:
                    made[-1] |= {"tool_call_id": one["id"], "name": one["function"]["name"]}
        made.append(say("assistant", answer(rng)))
    if rng.random() < 0.2:
        last = say("assistant", rng.choice(texts)) | {"tool_calls": [call(rng, known)]}
        made += [say("user", question(rng)), last]
    return with_system(system(rng), made, empty_too=True)


def as_written(rng, message):
    """A message as files have it: calls and their arguments may be text."""
    if "tool_calls" not in message:
        return message
    calls = json.loads(json.dumps(message["tool_calls"]))
    if rng.random() < 0.5:
        for one in calls:
            arguments = json.dumps(one["function"]["arguments"], ensure_ascii=rng.random() < 0.5)
            one["function"]["arguments"] = arguments
    if rng.random() < 0.2 and not any("id" in one for one in calls):
        calls = [one["function"] for one in calls]
    return message | {"tool_calls": calls}


def messages(rng):
    known = tools(rng)
    made = conversation(rng, known, [1, 1, 2], [None, None, "", sentence(rng) + "."])
    row = {"messages": [as_written(rng, message) for message in made]}
    bare = [one["function"] for one in known]
    row["tools"] = rng.choice([known, known, bare, json.dumps(known, ensure_ascii=False)])
    return row, (known, made)


def sharegpt(rng):
    known = tools(rng)
    made = conversation(rng, known, [1, 1, 2], [None])
    results = rng.choice(["observation", "tool"])
    names = {"user": "human", "assistant": "gpt", "system": "system", "tool": results}
    listed = []
    for message in made:
        message.pop("tool_call_id", None), message.pop("name", None)
        for one in message.get("tool_calls", []):
            one.pop("id", None)
        calls = [one["function"] for one in message.get("tool_calls", [])]
        if calls:
            calls = calls if len(calls) > 1 else calls[0]
            made_text = json.dumps(calls, ensure_ascii=False)
            listed.append({"from": "function_call", "value": made_text})
        else:
            listed.append({"from": names[message["role"]], "value": message["content"]})
    bare = json.dumps([one["function"] for one in known], ensure_ascii=False)
    return {"conversations": listed, "tools": bare}, (known, made)


SHAPES = {"tools": messages, "tools-sharegpt": sharegpt}


def rows_of(shape):
    """The shape's rows, each with its tools and messages. No two rows have the same prompt."""
    rng = random.Random(f"{SEED} {shape}")
    made, seen = [], set()
    while len(made) < N_ROWS:
        row, record = SHAPES[shape](rng)
        key = next(m["content"] for m in record[1] if m["role"] == "user")
        if key not in seen:
            seen.add(key)
            made.append((row, record))
    return made
