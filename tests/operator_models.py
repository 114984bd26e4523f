"""Checks objects of the Prometheus Operator, a JSON list in the file that is named, against the models of its API.

The models pass over keys that they do not know, as a cluster would; here such a key is an error: what a model has read
must be all that was written.
"""

import json
import sys

from cloudcoil.models.prometheus_operator import v1

with open(sys.argv[1], encoding="utf-8") as file:
    objects = json.load(file)
for written in objects:
    read = getattr(v1, written["kind"]).model_validate(written)
    read = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if read != written:
        sys.exit(f"{written['kind']}: of\n{json.dumps(written, indent=1)}\nonly this is known:\n{json.dumps(read, indent=1)}")
