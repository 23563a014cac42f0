"""How fast conversations are generated: `python -m benchmarks.generate [--without-gates]`, one measurement a process.

Shards are written as `fcdist generate` writes them: drafts, gates, execution again, JSON lines on disk. With
--without-gates neither gates nor execution are run. The digest tells whether two versions of the code write the same.
"""

import argparse
import hashlib
import json
import resource
import tempfile
import time
from pathlib import Path

STARTED = time.process_time()  # before the imports, which are part of the start-up

from data_pipeline.gates import GATES, first_failures  # noqa: E402
from data_pipeline.programmatic import ProgrammaticTeacher  # noqa: E402
from data_pipeline.shard_worker import plan_shards, write_shard  # noqa: E402
from data_pipeline.teachers import PlannedTeacher  # noqa: E402
from fcdist.config.types import GenerateConfig  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--shard-size", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-gates", action="store_true")
    arguments = parser.parse_args()
    planner = ProgrammaticTeacher(GenerateConfig(num_conversations=arguments.conversations), arguments.seed)
    ready = time.process_time()
    if arguments.without_gates:
        teacher, gates = PlannedTeacher(planner), GATES[:0]
    else:
        teacher, gates = PlannedTeacher(planner, execute=planner.execute), GATES
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        shards = plan_shards(Path(folder), arguments.conversations, arguments.shard_size)
        for shard in shards:
            write_shard(shard, teacher, lambda conversations: first_failures(gates, conversations), "")
        spent = time.process_time() - ready
        for shard in shards:
            digest.update(shard.path.read_bytes() + shard.rejected_path.read_bytes())
    facts = {
        "conversations": arguments.conversations,
        "start_up_s": round(ready - STARTED, 2),
        "cpu_s": round(spent, 2),
        "per_cpu_second": round(arguments.conversations / spent),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "sha256": digest.hexdigest(),
    }
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
