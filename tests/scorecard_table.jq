# SPDX-License-Identifier: Apache-2.0
# The scorecard's object (scorecard.jq) as text.

def fixed(n): if . == null then "-" else
    (. * pow(10; n) | round) as $whole | ($whole | fabs | floor | tostring) as $digits
    | (if $whole < 0 then "-" else "" end) as $sign
    | if n == 0 then $sign + $digits else
        (("0" * ([n + 1 - ($digits | length), 0] | max) // "") + $digits) as $d | $sign + $d[:-n] + "." + $d[-n:] end end;
def left(n): . + (" " * ([n - length, 0] | max) // "");
def right(n): (" " * ([n - length, 0] | max) // "") + .;
def word: if . == null then "" elif . then "met" else "MISSED" end;

def row($name; $f): ($name | left(22)) + ([
    ($f.hdd_s | fixed(1) | right(10)), ($f.ssd_mib | fixed(0) | right(9)), ($f.mean_ms | fixed(2) | right(12)),
    ($f.p99_ms | fixed(1) | right(11)), (if $f.read_hit == null then null else $f.read_hit * 100 end | fixed(1) | right(8)),
    ($f.relocated_mib | fixed(0) | right(9))] | add);
def verdict: [(.goals[0]? | select(. != null) | "HDD " + word), (.goals[1]? | select(. != null) | "SSD " + word),
    (.goals[2]? | select(. != null) | "mean " + word), (.gate | select(. == false) | "GATE"), (.moved_goal | select(. == false) | "MOVES")]
    | join(", ");
def firn_row: if .status != "done" then ("  " + .profile | left(22)) + "  " + .status
    else row("  " + .profile; .firn) + (.score | fixed(0) | right(8)) + (.hdd_to_best | fixed(2) | right(8)) + (.ssd_to_best | fixed(2) | right(8))
        + "  " + verdict end;
def heading: ("" | left(22)) + "  HDD busy s" [2:] + "  SSD MiB" + "     mean ms" + "     p99 ms" + "  hits %" + "    moved" + "   score" + " HDD/bst"
    + " SSD/bst";

(.cells | group_by(.size)[] | . as $cells
    | "SSD = \(.[0].size) % of the footprint", heading,
      ($cells | group_by(.trace)[] | .[0] as $c
        | (if $c.closed then " (one at a time)" else "" end) as $pace
        | $c.trace + $pace, row("  bcache-like = 100"; $c.anchor), row("  best peer each"; $c.best_peer), (.[] | firn_row)),
      ""),
(.sets[] | "score at \(.size | tostring | right(3)) %, \(.profile | left(9)) \(.set | left(12)) \(.traces) of \(.of) traces: \(.score | fixed(1) | right(7))"
    + (if .goal != null then "  (goal \(.goal): \(.met | word))" else "" end)),
(.not_built[] | "profile \(.): not built"),
"\(.missed) goals missed. HDD/bst, SSD/bst: against the best peer on that axis; GATE: worse than it by more than 5 % on the axis that the",
"profile claims (at 1 %: HDD by more than 25 %); MOVES: more than 10 % of what the host wrote was moved within the SSD."
