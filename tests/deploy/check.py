"""Reads what `tdmq-backup … --dry-run` printed, and checks every call against the services' definitions. Prints how many."""

import json
import re
import shlex
import sys
from pathlib import Path

import definitions

text = sys.stdin.read()
count = 0
for found in re.finditer(r"^tccli scf (\w+) (.*?) --cli-input-json file:///dev/stdin <<'JSON'\n(.*)\nJSON$", text, re.M):
    definitions.scf(found[1], json.loads(found[3]))
    count += 1
for line in re.findall(r"^aws .*$", text, re.M):
    words = shlex.split(line)
    action = words[2] if words[2] != "wait" else " ".join(words[2:4])
    if action == "invoke":
        said = dict(zip(words[5:11:2], words[6:11:2], strict=True))
        parameters = {"FunctionName": said["--function-name"], "InvocationType": said["--invocation-type"],
                      "Payload": said["--payload"].encode()}
    else:
        parameters = json.loads(words[words.index("--cli-input-json") + 1])
    parameters.pop("<as answered>", None)
    if action == "update-schedule":
        parameters |= {"ScheduleExpression": "rate(5 minutes)", "FlexibleTimeWindow": {"Mode": "OFF"},
                       "Target": {"Arn": "a", "RoleArn": "arn:aws:iam::123456789012:role/x"}}
    if action == "create-change-set":
        parameters["TemplateBody"] = Path("template.yaml").read_text()
        given = {p["ParameterKey"]: p["ParameterValue"] for p in parameters["Parameters"]}
        definitions.stack(parameters["TemplateBody"], given)
    definitions.aws(words[1], action, parameters)
    count += 1
print(count)
