"""What holds for every test: programs are verified after each pass, random tests repeat exactly."""

import os
import signal

# Before sley is imported by any test: the configuration is read once.
os.environ["SLEY_VERIFY"] = "1"

# A shell starts what it runs in the background with Ctrl-C ignored, and tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis

hypothesis.settings.register_profile("sley", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("sley")
