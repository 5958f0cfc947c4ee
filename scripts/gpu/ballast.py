"""Holds all of the GPU's memory but some GB until it is killed: ballast.py GB. Other processes get no more."""

import sys
import time

import torch

free, total = torch.cuda.mem_get_info()
held = int(free - float(sys.argv[1]) * 1e9)
if held > 0:
    block = torch.empty(held, dtype=torch.uint8, device="cuda")
print(f"{torch.cuda.mem_get_info()[0] / 1e9:.1f}", flush=True)
time.sleep(3600)
