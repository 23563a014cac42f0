"""What runs a step: plain torch or DeepSpeed, each behind the same methods."""
