"""The token ids of every text of the rows, by the tokenizer that the peers train with."""
import json

import common

tokenizer = common.tokenizer()
print(json.dumps({"ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for row in common.rows() for text in row.values()]}))
