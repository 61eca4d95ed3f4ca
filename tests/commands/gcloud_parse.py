"""gcloud_parse SDK -- reads a JSON list of arguments a line, and prints a line for each: what gcloud's own parser has against
it, empty if nothing. Nothing is executed and no account is needed. It runs in an interpreter of its own, with the
libraries of the SDK in the place of ours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

sdk = sys.argv[1]
sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]

from googlecloudsdk import gcloud_main

parser = gcloud_main.CreateCLI([])._CLI__parser  # Execute() would run the command
for line in sys.stdin:
    problem = ""
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 2)  # gcloud has taken sys.stderr before
        try:
            parser.parse_args(json.loads(line))
        except SystemExit:
            sys.stderr.flush()
            said.seek(0)
            problem = said.readline().strip() or "refused"
        except Exception as error:  # noqa: BLE001 - whatever it is, gcloud does not take the command
            problem = str(error).splitlines()[0]
    print(problem)
