#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Standard input: the text of /metrics, of a server with a pool and some load. Output: the rows of etc/man/firn-metrics.5, a metric each:
type, unit, labels, and the words of its HELP line."""
import re
import sys

kinds, helps, labels, order = {}, {}, {}, []
for line in sys.stdin:
    m = re.match(r"# (HELP|TYPE) (\S+) (.+)$", line)
    if m and m[1] == "HELP":
        helps[m[2]] = m[3]
        order.append(m[2])
    elif m:
        kinds[m[2]] = m[3]
    elif s := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
        base = re.sub(r"_(bucket|sum|count)$", "", s[1])
        name = base if kinds.get(base) == "histogram" else s[1]
        mine = labels.setdefault(name, [])
        mine += [n for n in re.findall(r'([a-z]+)="', s[2] or "") if n != "le" and n not in mine]


def unit(name, text):
    if "_seconds" in name:
        return "seconds"
    if name.endswith(("_bytes", "_bytes_total")):
        return "bytes"
    if name.endswith(("_up", "_info", "_read_only")):
        return "0 or 1"
    if re.match(r"(Tier: )?(of the )?(clean |dirty )?(blocks|copies)\b", text, re.I):
        return "blocks of 4 KiB"
    return "number"


for name in order:
    text = helps[name]
    known = f"; {', '.join(labels[name])}" if labels.get(name) else ""
    print(f".TP\n.B {name}\n{kinds[name]}, {unit(name, text)}{known}. {text}".replace("\\", "\\\\").replace("-", "\\-"))
