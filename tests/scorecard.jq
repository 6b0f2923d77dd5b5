# SPDX-License-Identifier: Apache-2.0
# Cells (tests/scorecard) to one object: cells with their score and what they are measured by, sets of them with theirs.
#
# score = 100 exp(mean over traces of 0.5 ln(HDD seconds) + 0.2 ln(SSD bytes) + 0.3 ln(mean latency)), each the anchor's over Firn's; the
# anchor is the bcache-like model. Who writes nothing to the SSD would have an endless score: less than a twentieth of the
# anchor's bytes counts as a twentieth.

# HDD busy s, SSD MiB, mean ms, at 10 %
def goals: {
    "balanced": {"cphy-vm": [120, 2920, 4], "tencent-50k": [228, 1050, 4.1], "arc-P3": [541, 1000, null], "arc-P6": [1100, 2050, null]},
    "low-wear": {"cphy-vm": [168, 1360, null], "tencent-50k": [236, 900, null], "arc-P3": [550, 185, null], "arc-P6": [995, 615, null]}
};
def score_goal: {"1": null, "5": 225, "10": 300, "20": 270};
def claims: {"balanced": "hdd_s", "low-wear": "ssd_mib"};

def dec(n): . * pow(10; n) | round / pow(10; n);
def mib: . * 1e6 / 1048576;
def figures: {hdd_s: .hdd_busy_s, ssd_mib: (.ssd_write_mb | mib), mean_ms: .mean_ms};
def best(f): map(select(.name != "hdd") | figures | f) | min;
def gain($a): 0.5 * ($a.hdd_s / .hdd_s | log) + 0.2 * ($a.ssd_mib / ([.ssd_mib, $a.ssd_mib / 20] | max) | log)
    + 0.3 * ($a.mean_ms / .mean_ms | log);
def points: exp * 100 | dec(1);
def met($goal): if $goal == null then null else . <= $goal end;

def judged:
    . as $c
    | (.peers[] | select(.name == "bcache") | figures) as $anchor
    | {hdd_s: (.peers | best(.hdd_s)), ssd_mib: (.peers | best(.ssd_mib)), mean_ms: (.peers | best(.mean_ms))} as $best
    | {trace, size, profile, status, closed: .at.closed, anchor: $anchor, best_peer: $best}
    + if .status != "done" then {} else
        (.firn | figures) as $f
        | (goals[$c.profile][$c.trace] // [null, null, null]) as $g
        | ($f | gain($anchor)) as $gain
        | {firn: ($f + {read_hit: .firn.read_hit, p99_ms: .firn.p99_ms, seeks: .firn.hdd_seeks, relocated_mib: (.firn.ssd_relocated_mb | mib),
            moved: (if .at.host_write_mb > 0 then .firn.ssd_relocated_mb / .at.host_write_mb else 0 end)}),
           gain: $gain, score: ($gain | points),
           hdd_to_best: ($f.hdd_s / $best.hdd_s), ssd_to_best: ($f.ssd_mib / $best.ssd_mib),
           priced_same: (if .priced_s == null then null else (.priced_s - $f.hdd_s | fabs) < 0.0501 end),
           goals: (if .size != 10 then null else
               [($f.hdd_s | met($g[0])), ($f.ssd_mib | met($g[1])), ($f.mean_ms | met($g[2]))] end),
           gate: (if .size == 10 then ($f[claims[.profile]] / $best[claims[.profile]]) <= 1.05
               elif .size == 1 then $f.hdd_s / $best.hdd_s <= 1.25 else null end),
           moved_goal: (if .size == 10 then .firn.ssd_relocated_mb <= 0.1 * .at.host_write_mb else null end)}
      end;

def set($name; $cells):
    ($cells | map(select(.status == "done"))) as $done
    | if $done == [] then empty else
        ($done | map(.gain) | add / length | points) as $points
        | $done[0] | {set: $name, size, profile, traces: ($done | length), of: ($cells | length), score: $points,
            goal: (if $name == "goal traces" then score_goal[.size | tostring] else null end)}
            | .met = (if .goal == null or .traces < .of then null else .score >= .goal end)
      end;
def is_goal_trace: .trace as $t | goals.balanced | has($t);

map(judged) | sort_by(.size, .trace, .profile) as $cells
| [$cells | group_by([.size, .profile])[] | set("all"; .), (map(select(is_goal_trace)) | if . == [] then empty else set("goal traces"; .) end)]
    as $sets
| {cells: $cells, sets: $sets,
   missed: ([$cells[] | .gate, .moved_goal, .goals[]?] + [$sets[].met] | map(select(. == false)) | length),
   not_built: ([$cells[] | select(.status == "not built") | .profile] | unique)}
