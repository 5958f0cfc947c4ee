"""The same by llama.cpp's llama-batched-bench: prompts of one length side by side, as many new tokens each."""
import json, resource, subprocess, sys

job = json.loads(sys.argv[1])
batch, prompt, new = job["batch"], job["prompt_tokens"], job["new_tokens"]
command = [job["program"], "-m", job["gguf"], "-npp", prompt, "-ntg", new, "-npl", batch, "-t", job["threads"], "-tb", job["threads"],
           "-c", batch * (prompt + new), "-b", 2048, "-ub", 512, "--output-format", "jsonl"]
secs, prefill = [], []
for _ in range(job["steps"]):
    out = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    row = next(json.loads(line) for line in out.splitlines() if line.startswith("{"))
    secs.append(row["t_pp"] + row["t_tg"])
    prefill.append(row["t_pp"])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
print(json.dumps({"secs": secs, "prefill_secs": prefill, "tokens": [batch * new] * job["steps"], "peak_gb": peak}))
