"""Functions in processes of their own, by themselves or as the ranks of one job."""

import multiprocessing
from multiprocessing.context import ForkServerProcess

from torch.multiprocessing import start_processes

# They are forked from a process that imported these once and did nothing since: a fresh one takes seconds for that.
multiprocessing.set_forkserver_preload(["torch", "transformers", "xling.train.worker"])


def forked(function, *arguments) -> ForkServerProcess:
    """A process that runs a function."""
    process = multiprocessing.get_context("forkserver").Process(target=function, args=arguments)
    process.start()
    return process


def on_two_ranks(function, *arguments) -> None:
    """Run ``function(rank, *arguments)`` on both ranks; raises what one of them raised."""
    start_processes(function, args=arguments, nprocs=2, start_method="forkserver")
