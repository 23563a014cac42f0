"""What a run will need, before it runs: memory, FLOPs, disk. No weights and no GPU."""
