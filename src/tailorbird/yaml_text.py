"""Parses YAML within limits: settings, front matter and dataset cards; alone imports PyYAML.

A few hundred bytes of YAML can expand to 9^10 values (nested aliases), exhaust the stack (nested
brackets) or contain a number that Python takes minutes to convert.
"""

from typing import Any

import yaml

MOST_CHARACTERS = 1 << 20
MOST_DEPTH = 50
MOST_VALUES = 200_000
LONGEST_NUMBER = 64

# PyYAML's errors for malformed tags or dates: `!!bool maybe`, `2024-13-45`.
_STUMBLES = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)


class YamlFault(ValueError):
    """A text is not valid YAML, or exceeds the limits."""


def parse_yaml(text: str) -> Any:
    """Parse YAML into plain values.

    Raises:
        YamlFault: It is malformed, or larger, deeper or more repetitive than any file of ours.

    Example:
        >>> parse_yaml("train: {epochs: 3}")
        {'train': {'epochs': 3}}
    """
    if len(text) > MOST_CHARACTERS:
        raise YamlFault(f"it has {len(text):,} characters, more than {MOST_CHARACTERS:,}")
    try:
        return yaml.load(text, _BoundedLoader)  # noqa: S506 - a SafeLoader
    except YamlFault:
        raise
    except yaml.YAMLError as error:
        raise YamlFault(str(error)) from error
    except _STUMBLES as error:
        raise YamlFault(f"a value does not fit its type: {error}") from error


def write_yaml(value: Any) -> str:
    """Write plain values as YAML in their order, readable if possible."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    # PyYAML writes Unicode's rarer line breaks unescaped, and reads them back as spaces.
    readable = not any(mark in text for mark in "\x85\u2028\u2029")
    return text if readable else yaml.safe_dump(value, sort_keys=False, width=100)


class _BoundedLoader(yaml.SafeLoader):
    """The safe loader, with limits on depth, repetition by aliases, and numbers."""

    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.values += 1
        if self.depth > MOST_DEPTH:
            raise YamlFault(f"its values are nested deeper than {MOST_DEPTH} levels")
        if self.values > MOST_VALUES:
            raise YamlFault(f"it has more than {MOST_VALUES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _weigh(node, {})
        return node

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > LONGEST_NUMBER:
            raise YamlFault(
                f"a number has {len(node.value):,} characters, more than {LONGEST_NUMBER} "
                f"(line {node.start_mark.line + 1})"
            )
        integer = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if integer else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _BoundedLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _BoundedLoader.construct_number)


def _weigh(node: yaml.Node, weights: dict[int, int]) -> int:
    """Return a node's number of characters, with aliases expanded."""
    weight = weights.get(id(node))
    if weight is not None:
        if not weight:
            raise YamlFault("a value contains itself")
        return weight
    weights[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    total = 1 + (0 if children else len(node.value))
    for child in children:
        total += _weigh(child, weights)
        if total > 2 * MOST_CHARACTERS:
            raise YamlFault(f"its aliases stand for more than {2 * MOST_CHARACTERS:,} characters")
    weights[id(node)] = total
    return total
