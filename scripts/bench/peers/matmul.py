"""PyTorch's matrix product, best of three seconds."""
import json, sys, time

job = json.loads(sys.argv[1])
import torch

torch.set_num_threads(job["threads"])
n, dtype = job["size"], {"f32": torch.float32, "bf16": torch.bfloat16}[job["dtype"]]
x, w = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
best, began = 1e9, time.perf_counter()
while time.perf_counter() - began < 3:
    start = time.perf_counter()
    torch.matmul(x, w.t())
    best = min(best, time.perf_counter() - start)
print(json.dumps({"gflops": 2 * n**3 / best / 1e9, "instructions": torch.backends.cpu.get_cpu_capability()}))
