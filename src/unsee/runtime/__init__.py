"""The machine: the cache on disk, time and memory, and several processes that work as one."""
