"""What the services' own definitions say about a call: tccli's for SCF, botocore's (inside of awscli) for AWS.

Names, types and required members come from the definitions as they are. The limits of SCF stand in its definitions as prose;
they are written out here once more.
"""

import base64
import io
import json
import re
import zipfile
from pathlib import Path

import awscli.botocore.session
import tccli

SCF = json.loads((Path(tccli.__file__).parent / "services/scf/v20180416/api.json").read_text())
SESSION = awscli.botocore.session.get_session()
TYPES = {"string": str, "int": int, "bool": bool, "float": (int, float)}

LIMITS = {
    "FunctionName": r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])",
    "Description": r"[A-Za-z0-9 ,.\n]{0,1000}",
    "Handler": r"[A-Za-z][A-Za-z0-9_-]{0,58}[A-Za-z]\.[A-Za-z][A-Za-z0-9_-]{0,58}[A-Za-z]",
    "TriggerName": r"[A-Za-z0-9_-]{1,100}",
    "TriggerDesc": r"\d+ (\*/)?\d+ \* \* \* \* \*",
    "Enable": r"OPEN|CLOSE",
    "PublicNetStatus": r"ENABLE|DISABLE",
    "Runtime": r"CustomRuntime",
    "CosObjectName": r"/.+",
}
RANGES = {"Timeout": (1, 900), "RetryNum": (0, 2), "MsgTTL": (60, 21600), "Limit": (1, 100)}


class Wrong(Exception):
    pass


def scf(action, parameters):
    """Raises Wrong where SCF's definition has no such call."""
    if action not in SCF["actions"]:
        raise Wrong(f"there is no action {action}")
    members(action, SCF["actions"][action]["input"], parameters)
    code = parameters.get("Code", parameters)
    if "ZipFile" in code and not code["ZipFile"].startswith("<base64 of "):
        package(base64.b64decode(code["ZipFile"], validate=True))
        if len(code["ZipFile"]) > 9_500_000:
            raise Wrong("the request is larger than 10 MB")
    variables = parameters.get("Environment", {}).get("Variables", [])
    if sum(len(v["Key"]) + len(v["Value"]) for v in variables) > 4096:
        raise Wrong("the environment is larger than 4 KB")
    for variable in variables:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", variable["Key"]) or not variable["Value"]:
            raise Wrong(f"variable {variable['Key']!r}")
        if variable["Key"].startswith(("SCF_", "QCLOUD_", "TENCENTCLOUD_")):
            raise Wrong(f"variable {variable['Key']} is reserved")
    memory = parameters.get("MemorySize")
    if memory is not None and memory != 64 and (memory % 128 or not 128 <= memory <= 3072):
        raise Wrong(f"MemorySize {memory}")


def members(place, shape, value):
    known = {m["name"]: m for m in SCF["objects"][shape]["members"] if not m.get("disabled")}
    for name in value:
        if name not in known:
            raise Wrong(f"{place} has no {name}")
    for name, member in known.items():
        if name not in value:
            if member.get("required"):
                raise Wrong(f"{place} needs {name}")
            continue
        member_of(f"{place}.{name}", name, member, value[name])


def member_of(place, name, member, value):
    kind = member["type"]
    if kind == "list":
        if not isinstance(value, list):
            raise Wrong(f"{place} is no list")
        for item in value:
            one(place, name, member["member"], item)
    elif kind == "object":
        one(place, name, member["member"], value)
    else:
        plain(place, name, kind, value)


def one(place, name, shape, value):
    if shape in SCF["objects"]:
        if not isinstance(value, dict):
            raise Wrong(f"{place} is no object")
        members(place, shape, value)
    else:
        plain(place, name, shape, value)


def plain(place, name, kind, value):
    if isinstance(value, bool) != (kind == "bool") or not isinstance(value, TYPES.get(kind, (str, int))):
        raise Wrong(f"{place} is {value!r}, not {kind}")
    if name in LIMITS and not re.fullmatch(LIMITS[name], value):
        raise Wrong(f"{place} is {value!r}")
    low, high = RANGES.get(name, (None, None))
    if low is not None and not low <= value <= high:
        raise Wrong(f"{place} is {value}")


def package(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if "bootstrap" not in archive.namelist():
            raise Wrong("there is no bootstrap at the root of the package")
        if not archive.getinfo("bootstrap").external_attr >> 16 & 0o111:
            raise Wrong("bootstrap is not executable")


def operation(service, action):
    model = SESSION.get_service_model(service)
    name = next((n for n in model.operation_names if awscli_name(n) == action), None)
    if name is None:
        raise Wrong(f"there is no {service} {action}")
    return model.operation_model(name)


def awscli_name(name):
    from awscli.botocore import xform_name

    return xform_name(name, "-")


def aws(service, action, parameters):
    """Raises Wrong where AWS's definition has no such call, its limits and patterns included."""
    from awscli.botocore.validate import ParamValidator

    if action.startswith("wait "):
        waiters = SESSION.get_waiter_model(service).waiter_names
        waiter = next((w for w in waiters if awscli_name(w) == action[5:]), None)
        if waiter is None:
            raise Wrong(f"there is no waiter {action}")
        action = awscli_name(SESSION.get_waiter_model(service).get_waiter(waiter).operation)
    shape = operation("s3" if service == "s3api" else service, action).input_shape
    report = ParamValidator().validate(parameters, shape)
    if report.has_errors():
        raise Wrong(report.generate_report())
    limits(action, shape, parameters)


def limits(place, shape, value):
    meta = shape.metadata
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    if size is not None and not meta.get("min", size) <= size <= meta.get("max", size):
        raise Wrong(f"{place} is {value!r}")
    if shape.type_name == "string":
        if meta.get("enum") and value not in meta["enum"]:
            raise Wrong(f"{place} is {value!r}")
        pattern = meta.get("pattern", "").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
        if pattern and "\\p" not in pattern and not re.fullmatch(pattern, value):
            raise Wrong(f"{place} is {value!r}, which is not {pattern}")
    elif shape.type_name == "structure":
        for name, item in value.items():
            limits(f"{place}.{name}", shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            limits(place, shape.member, item)


def stack(template, given):
    """Raises Wrong where the template does not take these parameters."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, tag, node: None)
    parameters = yaml.load(template, Loader)["Parameters"]
    for name, value in given.items():
        if name not in parameters:
            raise Wrong(f"the template has no parameter {name}")
        said = parameters[name]
        if "AllowedPattern" in said and not re.fullmatch(said["AllowedPattern"], value):
            raise Wrong(f"{name} is {value!r}, which is not {said['AllowedPattern']}")
        if "AllowedValues" in said and value not in map(str, said["AllowedValues"]):
            raise Wrong(f"{name} is {value!r}")
        if said["Type"] == "Number" and not said.get("MinValue", float(value)) <= float(value) <= said.get("MaxValue", float(value)):
            raise Wrong(f"{name} is {value}")
    missing = [n for n, said in parameters.items() if "Default" not in said and n not in given]
    if missing:
        raise Wrong(f"the template needs {missing}")
    return {name: given.get(name, str(said.get("Default", ""))) for name, said in parameters.items()}
