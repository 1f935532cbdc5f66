"""Says of each message on standard input, one a line, whether Python's jsonschema takes it: `taken`, or why not.

    verdicts.py SCHEMA
"""

import json
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for line in sys.stdin:
    error = next(validator.iter_errors(json.loads(line)), None)
    print("taken" if error is None else " ".join(error.message.split()))
