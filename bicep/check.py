#!/usr/bin/env python3
"""Checks these files as far as that goes without a Bicep compiler.

    python check.py                  syntax (needs: pip install pycep-parser==0.7.1)
    python check.py --types AZMCP    also every resource's properties against Azure's type data, with the
                                     program `azmcp` of the npm package @azure/mcp-linux-x64 2.0.5

Expressions are not evaluated: whether a value fits, only Azure can tell (`az deployment group what-if`).
"""

import argparse
import json
import pathlib
import subprocess
import sys

from pycep import BicepParser

# Of Bicep itself, not of the resource type.
BICEP_KEYS = {"parent", "scope", "dependsOn"}


def schema(azmcp, resource_type):
    """The body of each known version of the type, and the types that they refer to by name."""
    command = [azmcp, "bicepschema", "get", "--resource-type", resource_type]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    # For a type that it has no data of, the program prints a stack trace instead.
    entries = json.loads(answer.stdout)["results"]["BicepSchemaResult"] if answer.returncode == 0 else []
    named = {entry["name"]: entry for entry in entries}
    return {name: entry["bodyType"] for name, entry in named.items() if entry["$type"] == "Resource"}, named


def properties(definition, value):
    """The properties a type allows, of the right shape where a property tells shapes apart."""
    allowed = definition.get("properties", []) + definition.get("baseProperties", [])
    discriminator = definition.get("discriminator")
    for shape in definition.get("elements", []):
        if any(p["name"] == discriminator and p["type"] == value.get(discriminator) for p in shape["properties"]):
            allowed = allowed + shape["properties"]
    return {p["name"]: p for p in allowed}


def check(where, value, type_, named, problems):
    """Compares the keys of a literal with those of its type; expressions pass."""
    if isinstance(value, list):
        element = type_.removesuffix("[]")
        for number, item in enumerate(value):
            check(f"{where}[{number}]", item, element, named, problems)
        return
    if not isinstance(value, dict) or {"operator", "function"} & value.keys():
        return
    definition = named.get(type_.strip("()"))
    if definition is not None and {"properties", "elements"} & definition.keys():
        compare(where, value, properties(definition, value), named, problems)


def compare(where, value, known, named, problems):
    for key, inner in value.items():
        if key not in known:
            problems.append(f"{where}: unknown property {key}")
        elif "ReadOnly" in known[key].get("flags", ""):
            problems.append(f"{where}: {key} is read-only")
        else:
            check(f"{where}.{key}", inner, known[key]["type"], named, problems)
    for key, entry in known.items():
        flags = entry.get("flags", "")
        if "Required" in flags and "ReadOnly" not in flags and key not in value:
            problems.append(f"{where}: {key} is missing")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--types", metavar="AZMCP")
    azmcp = arguments.parse_args().types
    problems, schemas, compared = [], {}, 0
    files = sorted(pathlib.Path(__file__).parent.rglob("*.bicep"))
    for file in files:
        try:
            parsed = BicepParser().parse(file_path=file)
        except Exception as error:  # the parser raises whatever its library does
            problems.append(f"{file.name}: {str(error).splitlines()[0]}")
            continue
        for symbol, resource in parsed.get("resources", {}).items() if azmcp else ():
            where, type_ = f"{file.name} {symbol}", resource["type"]
            if type_ not in schemas:
                schemas[type_] = schema(azmcp, type_)
            bodies, named = schemas[type_]
            definition = bodies.get(f"{type_}@{resource['api_version']}")
            if definition is None:
                print(f"not compared: {where}, {type_}@{resource['api_version']} is not in the type data, "
                      f"which has {list(bodies) or 'no version'}")
                continue
            compared += 1
            body = resource["config"]
            while "config" in body:  # inside a loop, a condition, or both
                body = body["config"]
            body = {key: value for key, value in body.items() if key not in BICEP_KEYS}
            known = properties(definition, body)
            for implied in ("apiVersion", "type"):
                known.pop(implied, None)
            compare(where, body, known, named, problems)
    print(f"{len(files)} files, {compared} resources compared, {len(problems)} problems")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
