"""Code to results: devices, buffers, executables, caches and threads."""

import time

LOADED_AT = time.time_ns()  # source that is newer is not what runs
