"""One seed, many streams: nothing in fcdist touches a global random generator."""

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """Seed of the stream called `names`, for example `derive_seed(seed, "packing", epoch)`.

    Returns:
        A 63-bit integer that depends on every argument; equal on every machine.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
