/* SPDX-License-Identifier: Apache-2.0 */
/* lsan.c: Criterion keeps a few bytes (48, once or twice) of its own for the life of a test process: no leak of ours, whoever runs the
 * program and from wherever. In every unit program.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libcriterion\nleak:criterion_\n"; }
