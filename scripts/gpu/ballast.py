"""Holds all of the card's memory but so many GB until it is ended: ballast.py GB. What runs beside it has no more than that."""

import sys
import time

import torch

free, total = torch.cuda.mem_get_info()
held = int(free - float(sys.argv[1]) * 1e9)
if held > 0:
    block = torch.empty(held, dtype=torch.uint8, device="cuda")
print(f"{torch.cuda.mem_get_info()[0] / 1e9:.1f}", flush=True)
time.sleep(3600)
