// Ids of the texts of tokens.py by llama.cpp for SmolLM2's GGUF file -> .models/llama-cpp-ids.json, which tokens.py then
// compares with its own reference. Needs node-llama-cpp (3.22.1 was used): npm install --no-save node-llama-cpp
//
//   node scripts/golden/llama_cpp_ids.mjs .models/smollm2-135m-instruct.gguf

import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const texts = JSON.parse(fs.readFileSync("tests/golden/token-texts.json", "utf8"));
const llama = await getLlama({gpu: false, build: "never"});
const model = await llama.loadModel({modelPath: process.argv[2], vocabOnly: true});
const ids = texts.map((text) => model.tokenize(text, true).map(Number));
fs.writeFileSync(".models/llama-cpp-ids.json", JSON.stringify(ids));
process.exit(0);
