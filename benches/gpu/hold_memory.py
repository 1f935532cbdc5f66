#!/usr/bin/env python3
"""Takes the GPU's memory up to so many MiB that stay free, says so, and holds it until its input ends.

    hold_memory.py FREE_MIB

With plain allocations, which touch nothing else of the card.
"""

import sys

import torch


def main():
    free_mib = int(sys.argv[1])
    free, total = torch.cuda.mem_get_info()
    held = []
    # In pieces, since there may be no single one of this size.
    while free - (free_mib << 20) >= 64 << 20:
        piece = min(free - (free_mib << 20), 4 << 30)
        held.append(torch.empty(piece, dtype=torch.uint8, device="cuda"))
        free, total = torch.cuda.mem_get_info()
    print(f"{free >> 20} MiB of {total >> 20} are free", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
