"""How the golden files of shapes are written: hashes, spans, lines. Used by shapes.py and
tool_shapes.py. Needs Python alone.
"""

import hashlib
import json
import struct

SEPARATOR = 0xFFFFFFFF


def hashed(*lists):
    """Eight hexadecimal digits of the SHA-256 of little-endian 32-bit numbers."""
    numbers = lists[0][:]
    for more in lists[1:]:
        numbers += [SEPARATOR, *more]
    return hashlib.sha256(struct.pack(f"<{len(numbers)}I", *numbers)).hexdigest()[:8]


def spans_of(labels):
    """Where labels stand: [[first, end], ...]."""
    found = []
    for at, label in enumerate(labels):
        if label != -100:
            if found and found[-1][1] == at:
                found[-1][1] += 1
            else:
                found.append([at, at + 1])
    return found


def mask(spans, n):
    return [int(any(a <= at < b for a, b in spans)) for at in range(n)]


def cut(ids, end):
    """Up to the last token that ends an answer, and the rest."""
    at = len(ids) - ids[::-1].index(end)
    return ids[:at], ids[at:]


def digests(kind, rows):
    """By what a run learns, the rows' hashes one after the other."""
    if kind == "prompts":
        return {"prompt": "".join(hashed(row["prompt"]) for row in rows)}
    if kind == "preferences":
        return {"pair": "".join(hashed(r["prompt"], r["chosen"], r["rejected"]) for r in rows)}

    def of(row, spans):
        ids = [*row["ids"], *row["after"]][: spans[-1][1]]
        return hashed(ids, mask(spans, len(ids)))

    made = {"last": "".join(of(row, row["answers"][-1:]) for row in rows)}
    made["all"] = "".join(of(row, row["answers"]) for row in rows)
    if any(row["tags"] != row["answers"] for row in rows):
        made["tags"] = "".join(of(row, row["tags"]) for row in rows)
    return made


def written(golden):
    """One line for each entry."""
    text = json.dumps(golden, ensure_ascii=False)
    for key in golden:
        text = text.replace(f', "{key}": ', f',\n"{key}": ', 1)
    return text.replace('{"record"', '\n{"record"').replace(', "small', ',\n"small') + "\n"
