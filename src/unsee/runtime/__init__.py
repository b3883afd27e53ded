"""The machine: what is cached on disk, what work costs, and several processes that work as one."""
