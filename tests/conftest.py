"""What holds for every test: programs are verified after each pass, random tests repeat exactly."""

import os

# Before sley is imported by any test: the configuration is read once.
os.environ["SLEY_VERIFY"] = "1"

import hypothesis

hypothesis.settings.register_profile("sley", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("sley")
