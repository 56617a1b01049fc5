"""Both clouds, as far as deploying needs them, on one port of the loopback. Every request is checked against the services' own
definitions before anything is done with it: what is wrong is refused, and so fails the tool that sent it.

    fake.py FOLDER    writes FOLDER/port; each call goes to FOLDER/calls.jsonl as {service, action, parameters};
                      an invocation answers the next line of FOLDER/replies.jsonl, and its report goes into the log;
                      each line of FOLDER/refused is an action that is refused once, in words that a terminal would obey
"""

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import definitions
from definitions import Wrong

FOLDER = Path(sys.argv[1])
FUNCTIONS, STACKS, SETS, SCHEDULES, PACKAGES, LOG = {}, {}, {}, {}, {}, {}


# To clear the screen, to write from right to left, and a line that nobody has said. The first of them is in no XML.
LOUD = "\x1b[2J\x9b2J\u202e\r\nFORGED"


class Refused(Exception):
    pass


def note(service, action, parameters):
    script = FOLDER / "refused"
    lines = script.read_text().splitlines() if script.exists() else []
    if action in lines:
        lines.remove(action)
        script.write_text("".join(line + "\n" for line in lines))
        raise Refused("InternalError")
    with (FOLDER / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"service": service, "action": action, "parameters": parameters}) + "\n")


def reply(name):
    """The next line of the script; without one, a run that finds nothing."""
    script = FOLDER / "replies.jsonl"
    lines = script.read_text().splitlines() if script.exists() else []
    report = {"outcome": "nothing_to_do", "stop": "drained", "messages": 0, "objects": [], "backlog_entries": 0,
              "complete_through": int(time.time() * 1000), "phases": {"total_ms": 12}}
    if lines:
        report = json.loads(lines[0])
        script.write_text("".join(line + "\n" for line in lines[1:]))
    LOG.setdefault(name, []).append((int(time.time() * 1000), report))
    return report


# --- SCF -----------------------------------------------------------------------------------------------------------


def scf(action, p):
    definitions.scf(action, p)
    note("scf", action, p)
    name = p.get("FunctionName")
    if action == "ListFunctions":
        rows = [f for _, f in sorted(FUNCTIONS.items())][p["Offset"] : p["Offset"] + p["Limit"]]
        return {"Functions": [{k: f.get(k) for k in ("FunctionName", "Description", "Tags", "Status")} for f in rows],
                "TotalCount": len(FUNCTIONS)}
    if action == "CreateFunction":
        if name in FUNCTIONS:
            raise Refused("ResourceInUse.Function")
        FUNCTIONS[name] = {k: v for k, v in p.items() if k != "Code"} | {"Status": "Creating", "Triggers": []}
        return {}
    if name not in FUNCTIONS:
        raise Refused("ResourceNotFound.Function")
    function = FUNCTIONS[name]
    if action == "GetFunction":
        answer = dict(function)
        function["Status"] = "Active"
        return answer
    if action.startswith("Update") and action != "UpdateTriggerStatus" and function["Status"] != "Active":
        raise Refused("FailedOperation.UpdateFunctionCode")
    if action == "UpdateFunctionConfiguration":
        function.update(p, Status="Updating")
    elif action == "UpdateFunctionCode":
        function["Status"] = "Updating"
    elif action == "CreateTrigger":
        if any(t["TriggerName"] == p["TriggerName"] for t in function["Triggers"]):
            raise Refused("ResourceInUse.Trigger")
        function["Triggers"].append(p | {"TriggerDesc": json.dumps({"cron": p["TriggerDesc"]}), "Enable": 1})
    elif action in ("UpdateTrigger", "UpdateTriggerStatus", "DeleteTrigger"):
        found = [t for t in function["Triggers"] if t["TriggerName"] == p["TriggerName"]]
        if not found:
            raise Refused("ResourceNotFound.Trigger")
        if action == "DeleteTrigger":
            function["Triggers"].remove(found[0])
        else:
            found[0]["Enable"] = int(p["Enable"] == "OPEN")
            if "TriggerDesc" in p:
                found[0]["TriggerDesc"] = json.dumps({"cron": p["TriggerDesc"]})
    elif action == "DeleteFunction":
        del FUNCTIONS[name]
    elif action == "InvokeFunction":
        report = reply(name)
        failed = report["outcome"] == "failed"
        return {"Result": {"RetMsg": "" if failed else json.dumps(report), "InvokeResult": int(failed),
                           "ErrMsg": report["error"]["message"] if failed else ""}}
    elif action == "GetFunctionLogs":
        rows = [{"FunctionName": name, "RequestId": "r", "RetCode": 0, "RetMsg": "", "InvokeFinished": 1,
                 "StartTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1000)),
                 "Log": f"START RequestId: r\n{json.dumps(report)}\nEND RequestId: r"} for at, report in LOG.get(name, [])]
        return {"Data": rows[::-1][: p["Limit"]], "TotalCount": len(rows)}
    return {}


# --- AWS -----------------------------------------------------------------------------------------------------------


def unflattened(form):
    """The members of a form: `Parameters.member.1.ParameterKey=x`."""
    tree = {}
    for key, value in form.items():
        at = tree
        parts = key.split(".")
        for part in parts[:-1]:
            at = at.setdefault(part, {})
        at[parts[-1]] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        if set(node) == {"member"}:
            return [lists(node["member"][key]) for key in sorted(node["member"], key=int)]
        return {key: lists(value) for key, value in node.items()}

    return lists(tree)


def xml(value):
    if isinstance(value, dict):
        return "".join(f"<{key}>{xml(item)}</{key}>" for key, item in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{xml(item)}</member>" for item in value)
    return escape(str(value))


def pairs(items):
    return {item["ParameterKey"]: item["ParameterValue"] for item in items}


def cloudformation(action, p):
    definitions.aws("cloudformation", definitions.awscli_name(action), p)
    note("cloudformation", action, p)
    name = p.get("StackName")
    if action == "DescribeStacks":
        if name and name not in STACKS:
            raise Refused(f"Stack with id {name} does not exist")
        return {"Stacks": [STACKS[name]] if name else list(STACKS.values())}
    if action == "CreateChangeSet":
        if (p["ChangeSetType"] == "CREATE") == (name in STACKS):
            raise Refused(f"Stack {name} is there, or is not")
        values = definitions.stack(p["TemplateBody"], pairs(p["Parameters"]))
        if values["CodeBucket"] + "/" + values["CodeKey"] not in PACKAGES:
            raise Wrong("the package is not where the template looks for it")
        same = name in STACKS and pairs(STACKS[name]["Parameters"]) == values
        SETS[p["ChangeSetName"]] = {
            "StackName": name, "ChangeSetName": p["ChangeSetName"], "Status": "FAILED" if same else "CREATE_COMPLETE",
            "StatusReason": "The submitted information didn't contain changes." if same else "",
            "Changes": [] if same else [{"Type": "Resource", "ResourceChange": {
                "Action": "Add", "LogicalResourceId": "Function", "ResourceType": "AWS::Lambda::Function"}}],
            "values": values, "Tags": p["Tags"]}
        return {"Id": "arn:aws:cloudformation:set", "StackId": "arn:aws:cloudformation:stack"}
    if action == "DescribeChangeSet":
        return {k: v for k, v in SETS[p["ChangeSetName"]].items() if k not in ("values", "Tags")}
    if action == "DeleteChangeSet":
        del SETS[p["ChangeSetName"]]
        return {}
    if action == "ExecuteChangeSet":
        change = SETS.pop(p["ChangeSetName"])
        # Done at once: the tool looks again after 30 s only.
        state = "UPDATE_COMPLETE" if name in STACKS else "CREATE_COMPLETE"
        hidden = ("StoreKeyId", "StoreKeySecret")
        STACKS[name] = {
            "StackName": name, "StackId": "arn", "StackStatus": state, "CreationTime": "2026-11-20T00:00:00Z",
            "Parameters": [{"ParameterKey": k, "ParameterValue": "****" if k in hidden and v else v}
                           for k, v in change["values"].items()], "Tags": change["Tags"]}
        rule = change["values"]["Name"]
        SCHEDULES.setdefault(rule, {"Name": rule, "GroupName": "default", "State": "ENABLED",
                                    "ScheduleExpression": f"rate({change['values']['IntervalMinutes']} minutes)",
                                    "FlexibleTimeWindow": {"Mode": "OFF"},
                                    "Target": {"Arn": "arn:aws:lambda:x", "RoleArn": "arn:aws:iam::123456789012:role/x", "Input": "{}"}})
        return {}
    if action == "DeleteStack":
        if stack := STACKS.pop(name, None):
            SCHEDULES.pop(pairs(stack["Parameters"])["Name"], None)
        return {}
    raise Wrong(action)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json", headers=()):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if action := self.headers.get("X-TC-Action"):
            return self.tencent(action, body)
        if target := self.headers.get("X-Amz-Target"):
            return self.json_call("logs", target.split(".")[1], json.loads(body), self.logs)
        if match := re.fullmatch(r"/schedules/(.+)", path):
            action = "UpdateSchedule" if self.command == "PUT" else "GetSchedule"
            given = (json.loads(body) if body else {}) | {"Name": match[1]}
            given.pop("ClientToken", None)
            return self.json_call("scheduler", action, given, self.schedule)
        if match := re.fullmatch(r"/2015-03-31/functions/(.+)/invocations", path):
            return self.invocation(match[1], body)
        if self.command == "PUT":
            definitions.package(body)
            PACKAGES[path.strip("/")] = len(body)
            note("s3", "PutObject", {"path": path})
            return self.send(200, "", headers=[("ETag", '"x"')])
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = form.pop("Action")
        form.pop("Version")
        try:
            answer = cloudformation(action, unflattened(form))
            text = f"<{action}Response><{action}Result>{xml(answer)}</{action}Result></{action}Response>"
            self.send(200, text, "text/xml")
        except (Wrong, Refused) as error:
            said = escape(str(error) + LOUD.replace("\x1b", ""))
            text = f"<ErrorResponse><Error><Code>ValidationError</Code><Message>{said}</Message></Error></ErrorResponse>"
            self.send(400, text, "text/xml")

    do_GET = do_POST = do_PUT = serve

    def tencent(self, action, body):
        try:
            answer = scf(action, json.loads(body))
        except (Wrong, Refused) as error:
            code = str(error) if isinstance(error, Refused) else "InvalidParameter"
            answer = {"Error": {"Code": code, "Message": str(error) + LOUD}}
        self.send(200, json.dumps({"Response": answer | {"RequestId": "r"}}))

    def json_call(self, service, action, parameters, answer):
        try:
            definitions.aws(service, definitions.awscli_name(action), parameters)
            note(service, action, parameters)
            self.send(200, json.dumps(answer(action, parameters)), "application/x-amz-json-1.1")
        except (Wrong, Refused) as error:
            self.send(400, json.dumps({"__type": type(error).__name__, "message": str(error) + LOUD}))

    def logs(self, _, p):
        rows = LOG.get(p["logGroupName"].removeprefix("/aws/lambda/"), [])
        return {"events": [{"timestamp": at, "message": json.dumps(report) + "\n", "logStreamName": "s"}
                           for at, report in rows if at >= p["startTime"]]}

    def schedule(self, action, p):
        if action == "UpdateSchedule":
            SCHEDULES[p["Name"]] = p
            return {"ScheduleArn": "arn:aws:scheduler:x"}
        return SCHEDULES[p["Name"]] | {"Arn": "arn:aws:scheduler:x", "CreationDate": 1.0, "LastModificationDate": 1.0}

    def invocation(self, name, body):
        try:
            note("lambda", "Invoke", {"FunctionName": name, "Payload": json.loads(body)})
        except Refused as error:
            return self.send(400, json.dumps({"__type": "Refused", "message": str(error) + LOUD}))
        report = reply(name)
        failed = report["outcome"] == "failed"
        said = {"errorType": report["error"]["kind"], "errorMessage": report["error"]["message"]} if failed else report
        self.send(200, json.dumps(said), headers=[("X-Amz-Function-Error", "Unhandled")] if failed else [])


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(FOLDER / "port.new").write_text(str(server.server_address[1]))
(FOLDER / "port.new").rename(FOLDER / "port")
server.serve_forever()
