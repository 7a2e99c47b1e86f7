"""Functions on several ranks, each in a process of its own."""

import multiprocessing

from torch.multiprocessing import start_processes

# Ranks are forked from a process that imported these once and did nothing since: a fresh one takes seconds for that.
multiprocessing.set_forkserver_preload(["torch", "transformers", "xling.train.worker"])


def on_two_ranks(function, *arguments) -> None:
    """Run ``function(rank, *arguments)`` on both ranks; raises what one of them raised."""
    start_processes(function, args=arguments, nprocs=2, start_method="forkserver")
