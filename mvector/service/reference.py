"""The OpenAPI document as a page to read: plain HTML, without scripts or styles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def reference_page(document: Mapping[str, Any]) -> str:
    """A page of all paths: what each does and takes, and an example of what it gives."""
    info = document["info"]
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])} {escape(info['version'])}</title></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method.upper(), path, operation)
    return "\n".join([*parts, "</body></html>\n"])


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{method} {escape(path)}</h2>"
    yield f"<p>{escape(operation.get('description') or operation['summary'])}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "<dl>"
        for own in parameters:
            schema = own.get("schema", {})
            what = own.get("description") or schema.get("description", "")
            default = f" (default: {json.dumps(schema['default'])})" if "default" in schema else ""
            yield f"<dt>{escape(own['name'])}, in the {escape(own['in'])}</dt>"
            yield f"<dd>{escape(what + default)}</dd>"
        yield "</dl>"
    body = operation.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        fields = ", ".join(content["schema"].get("properties", {})) or "a clip"
        yield f"<p>Body: {escape(kind)}: {escape(fields)}</p>"
    for status, answer in operation["responses"].items():
        example = answer.get("content", {}).get("application/json", {}).get("example")
        if example is not None:
            text = json.dumps(example, indent=2, ensure_ascii=False)
            yield f"<p>Answer {escape(status)}:</p><pre>{escape(text)}</pre>"
