"""What the servers are asked: fitting arguments for everything that they offer. Data."""

from __future__ import annotations

from typing import Any, NamedTuple

JSON = dict[str, Any]


class Asked(NamedTuple):
    """Questions for one server.

    Args:
        calls: tools with arguments; every tool is there at least once.
        uris: resources beside the listed ones, such as those of templates.
        prompts: prompts with arguments; every prompt is there at least once.
        completions: reference, argument and context.
        mistakes: tools with arguments that do not fit.
        counting: a call that reports progress quickly, and how many steps.
        slow: a call that reports progress slowly, and how many steps.
        asking: a call that asks the user, and what the user answers.
    """

    calls: tuple[tuple[str, JSON], ...]
    uris: tuple[str, ...]
    prompts: tuple[tuple[str, dict[str, str] | None], ...]
    completions: tuple[tuple[JSON, JSON, JSON | None], ...]
    mistakes: tuple[tuple[str, JSON], ...]
    counting: tuple[str, JSON, int]
    slow: tuple[str, JSON, int]
    asking: tuple[str, JSON, JSON]


DATA_URI = "data:text/plain;base64,SGVsbG8="
EVERYTHING = Asked(
    calls=(
        ("echo", {"message": 'Grüße 你好 \u2028 "quoted" \\ \u0001'}),
        ("get-annotated-message", {"messageType": "error", "includeImage": True}),
        ("get-annotated-message", {"messageType": "debug"}),
        ("get-env", {}),
        ("get-resource-links", {"count": 10}),
        ("get-resource-reference", {"resourceType": "Text", "resourceId": 3}),
        ("get-resource-reference", {"resourceType": "Blob", "resourceId": 4}),
        ("get-structured-content", {"location": "Chicago"}),
        ("get-sum", {"a": 0.1, "b": 2}),
        ("get-tiny-image", {}),
        ("gzip-file-as-resource", {"name": "a.gz", "data": DATA_URI, "outputType": "resource"}),
        ("gzip-file-as-resource", {"name": "b.gz", "data": DATA_URI}),
        ("toggle-simulated-logging", {}),
        ("toggle-simulated-logging", {}),
        ("toggle-subscriber-updates", {}),
        ("toggle-subscriber-updates", {}),
        ("trigger-long-running-operation", {"duration": 0.05, "steps": 2}),
    ),
    uris=("demo://resource/dynamic/text/7", "demo://resource/dynamic/blob/8"),
    prompts=(
        ("simple-prompt", None),
        ("args-prompt", {"city": "Delft"}),
        ("args-prompt", {"city": "Delft", "state": "ZH"}),
        ("completable-prompt", {"department": "Sales", "name": "Eve"}),
        ("resource-prompt", {"resourceType": "Text", "resourceId": "2"}),
        ("resource-prompt", {"resourceType": "Blob", "resourceId": "2"}),
    ),
    completions=(
        ({"name": "completable-prompt"}, {"name": "department", "value": "S"}, None),
        ({"name": "completable-prompt"}, {"name": "name", "value": ""}, {"department": "Sales"}),
        ({"name": "resource-prompt"}, {"name": "resourceType", "value": ""}, None),
        ({"name": "resource-prompt"}, {"name": "resourceId", "value": "x"}, None),
        (
            {"uri": "demo://resource/dynamic/text/{resourceId}"},
            {"name": "resourceId", "value": "12"},
            None,
        ),
        (
            {"uri": "demo://resource/dynamic/blob/{resourceId}"},
            {"name": "resourceId", "value": "no"},
            None,
        ),
    ),
    mistakes=(
        ("echo", {}),
        ("get-sum", {"a": "one", "b": 2}),
        ("get-resource-links", {"count": 99}),
        ("get-resource-reference", {"resourceType": "Text", "resourceId": -1}),
        ("gzip-file-as-resource", {"data": "file:///etc/hostname"}),
    ),
    counting=("trigger-long-running-operation", {"duration": 0.02, "steps": 20}, 20),
    slow=("trigger-long-running-operation", {"duration": 1.2, "steps": 3}, 3),
    asking=("trigger-elicitation-request", {}, {"name": "Ada", "check": True, "integer": 7}),
)
SDK = Asked(
    calls=(
        ("echo", {"message": "Grüße 你好 \u2028 \u0001", "times": 2}),
        ("weather", {"place": "Delft"}),
        ("primes", {"below": 20}),
        ("files.read-all", {}),
        ("picture", {}),
        ("sound", {}),
        ("own_result", {"is_error": False}),
        ("own_result", {"is_error": True}),
        ("nothing", {}),
        ("fails", {}),
        ("refuses", {}),
        ("mirror", {"region": "eu west"}),
        ("mirror", {"region": "Zürich"}),
        ("counts", {"to": 2, "pause": 0}),
        ("ran", {}),
    ),
    uris=("city://Delft/facts", "city://Den%20Haag/facts"),
    prompts=(
        ("greet", {"name": "Ada"}),
        ("greet", {"name": "Ada", "style": "formal"}),
        ("illustrated", None),
    ),
    completions=(
        ({"name": "greet"}, {"name": "style", "value": ""}, None),
        ({"name": "greet"}, {"name": "style", "value": "f"}, {"name": "Ada"}),
        ({"uri": "city://{name}/facts"}, {"name": "name", "value": "A"}, None),
    ),
    mistakes=(
        ("echo", {}),
        ("echo", {"message": "x", "times": "often"}),
        ("mirror", {"region": 7}),
    ),
    counting=("counts", {"to": 20, "pause": 0.002}, 20),
    slow=("counts", {"to": 3, "pause": 0.4}, 3),
    asking=("books", {"traveller": "Ada"}, {"city": "Delft", "nights": 3, "breakfast": False}),
)
FASTMCP = Asked(
    calls=(
        ("add", {"a": 2, "b": 1.5}),
        ("add", {"a": 2}),
        ("trip", {"city": "Gent"}),
        ("several", {}),
        ("sound", {}),
        ("report", {}),
        ("both", {}),
        ("fails", {}),
        ("breaks", {}),
        ("counts", {"to": 2, "pause": 0}),
        ("ran", {}),
    ),
    uris=("user://ada/profile", "user://ada/profile?lang=nl"),
    prompts=(("review", {"code": "x = 1", "strict": "true"}), ("plain", None)),
    completions=(
        ({"uri": "user://{name}/profile{?lang}"}, {"name": "lang", "value": "e"}, None),
        ({"name": "review"}, {"name": "code", "value": ""}, None),
    ),
    mistakes=(("add", {}), ("add", {"a": "many"}), ("trip", {"city": "x", "more": 1})),
    counting=("counts", {"to": 20, "pause": 0.002}, 20),
    slow=("counts", {"to": 3, "pause": 0.4}, 3),
    asking=("books", {"traveller": "Ada"}, {"city": "Delft", "nights": 3}),
)
# Tools that run until they are cancelled or ask somebody have tests of their own.
APART = frozenset({"lingers", "books", "trigger-elicitation-request", "trigger-url-elicitation"})
ASKED = {
    "everything": EVERYTHING,
    "everything-sse": EVERYTHING,
    "sdk": SDK,
    "sdk-handshake": SDK,
    "fastmcp": FASTMCP,
}
