"""How threads wait."""

import os
import subprocess
import sys

from supcrd.base.threads import CHOICES, LOOKS, let_idle_threads_sleep

AT_TORCH = """
import os, sys

class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, AtTorch())
import supcrd.cli
import torch
"""
"""Ends where torch would be loaded."""


def test_the_command_line_lets_them_sleep_before_torch_is_loaded():
    environ = {name: value for name, value in os.environ.items() if name not in CHOICES}
    done = subprocess.run([sys.executable, "-c", AT_TORCH], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [LOOKS]


def test_a_users_choice_stays():
    for name in CHOICES:
        environ = {name: "ACTIVE"}
        let_idle_threads_sleep(environ)
        assert environ == {name: "ACTIVE"}
