// Does llama.cpp put the same greedy tokens behind a prompt as transformers? Needs node-llama-cpp.
// For each directory: greedy.json {prompt, greedy} and model.gguf, as families.py writes them.
//
//   node llama_cpp_greedy.mjs tests/golden/families/qwen3-plain tests/golden/families/smollm3

import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
let wrong = 0;
for (const dir of process.argv.slice(2)) {
    const {prompt, greedy} = JSON.parse(fs.readFileSync(`${dir}/greedy.json`, "utf8"));
    const model = await llama.loadModel({modelPath: `${dir}/model.gguf`});
    const context = await model.createContext({
        contextSize: 64,
        threads: 1,
        flashAttention: false,
        experimentalKvCacheKeyType: "F32",
        experimentalKvCacheValueType: "F32"
    });
    const found = [];
    for await (const token of context.getSequence().evaluate(prompt, {temperature: 0})) {
        if (found.push(Number(token)) === greedy.length)
            break;
    }
    const equal = JSON.stringify(found) === JSON.stringify(greedy);
    wrong += equal ? 0 : 1;
    console.log(`${dir.split("/").pop()}: ${equal ? `${greedy.length} greedy tokens equal` : `WRONG ${found}, not ${greedy}`}`);
}
process.exit(wrong === 0 && process.argv.length > 2 ? 0 : 1);
