"""gcloud_parse SDK -- reads a JSON list of arguments a line, and prints a line for each: what gcloud's own parser has against
it, empty if nothing. Nothing is executed and no account is needed. It runs in an interpreter of its own, with the
libraries of the SDK in the place of ours.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

sdk = sys.argv[1]
sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]

from googlecloudsdk import gcloud_main

parser = gcloud_main.CreateCLI([])._CLI__parser  # Execute() would run the command
for line in sys.stdin:
    said = io.StringIO()
    problem = ""
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser.parse_args(json.loads(line))
        except SystemExit:
            text = said.getvalue().strip()
            problem = text.splitlines()[0] if text else "refused"
        except Exception as error:  # noqa: BLE001 - whatever it is, gcloud does not take the command
            problem = str(error).splitlines()[0]
    sys.__stdout__.write(problem + "\n")
