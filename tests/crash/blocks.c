/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.c: a host for scripts: writes, reads and frees single blocks of a volume, and says which status each one got.
 *
 *   blocks PORT NQN VERB FIRST COUNT [STAMP...]
 *     write   FIRST COUNT STAMP      each block with bytes made from (lba, stamp), one command a block
 *     read    FIRST COUNT STAMP...   each block, and which of the stamps it carries, if any
 *     zero    FIRST COUNT            write zeroes
 *     trim    FIRST COUNT            deallocate
 *     free    FIRST COUNT            deallocate the whole range by one command
 *   COUNT may be COUNTxSTRIDE: every STRIDE-th block.
 *
 * Output: a line for each outcome, "OUTCOME COUNT LBA LBA ...", sorted by outcome; OUTCOME is good (answered with success; read:
 * carries the first stamp), stamp-S (carries another of the stamps), zeros, foreign (anything else), or status-XXX (hexadecimal,
 * code type and code). Exit 0 if every command was answered, 1 if the connection ended, 2 if the command line is wrong.
 */
#include "tests/raw/raw.h"

#define OUTCOMES_MAX 16
#define LBAS_SHOWN 24

struct outcome { char name[24]; uint32_t nr; uint64_t lba[LBAS_SHOWN]; };
static struct outcome outcomes[OUTCOMES_MAX];
static unsigned nr_outcomes;

static void count(const char *name, uint64_t lba)
{
    unsigned i = 0;

    while (i < nr_outcomes && strcmp(outcomes[i].name, name) != 0)
        i++;
    if (i == OUTCOMES_MAX) /* a seventeenth kind of answer: it is foreign enough */
        i--;
    if (i == nr_outcomes)
        snprintf(outcomes[nr_outcomes++].name, sizeof(outcomes[0].name), "%s", name);
    if (outcomes[i].nr < LBAS_SHOWN)
        outcomes[i].lba[outcomes[i].nr] = lba;
    outcomes[i].nr++;
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct outcome *)a)->name, ((const struct outcome *)b)->name); }

static void print_outcomes(void)
{
    qsort(outcomes, nr_outcomes, sizeof(outcomes[0]), by_name);
    for (unsigned i = 0; i < nr_outcomes; i++) {
        printf("%s %u", outcomes[i].name, outcomes[i].nr);
        for (unsigned k = 0; k < MIN(outcomes[i].nr, (uint32_t)LBAS_SHOWN); k++)
            printf(" %llu", (unsigned long long)outcomes[i].lba[k]);
        printf("\n");
    }
}

static void stamp(uint8_t *buf, uint64_t lba, uint32_t s) { raw_fill(buf, BLOCK_BYTES, (uint32_t)lba * 31337u + s * 7919u); }

static const char *judge(const uint8_t *got, uint64_t lba, const uint32_t *stamps, int nr, char name[static 24])
{
    static const uint8_t zeros[BLOCK_BYTES];
    uint8_t want[BLOCK_BYTES];

    for (int i = 0; i < nr; i++) {
        stamp(want, lba, stamps[i]);
        if (memcmp(got, want, BLOCK_BYTES) != 0)
            continue;
        snprintf(name, 24, "stamp-%u", stamps[i]);
        return i == 0 ? "good" : name;
    }
    return memcmp(got, zeros, BLOCK_BYTES) == 0 ? "zeros" : "foreign";
}

struct job { const char *verb; uint64_t lba, nr, stride; uint32_t span; const uint32_t *stamps; int nr_stamps; };

/* One block; 0xffff: the connection ended. */
static uint16_t one(const struct raw_conn *q, const struct job *j, uint64_t lba, char name[static 24])
{
    uint8_t buf[BLOCK_BYTES];
    struct nvme_sqe sqe;
    uint16_t status;

    snprintf(name, 24, "good");
    if (strcmp(j->verb, "write") == 0) {
        stamp(buf, lba, j->stamps[0]);
        sqe = raw_io(IO_WRITE, 1, lba, 1, BLOCK_BYTES, true);
        status = raw_status(raw_cmd(q, &sqe, buf, BLOCK_BYTES));
    } else if (strcmp(j->verb, "read") == 0) {
        sqe = raw_io(IO_READ, 1, lba, 1, BLOCK_BYTES, false);
        status = raw_read_cmd(q, &sqe, buf, BLOCK_BYTES);
        if (status == 0) {
            char stamped[24];

            snprintf(name, 24, "%s", judge(buf, lba, j->stamps, j->nr_stamps, stamped));
        }
    } else if (strcmp(j->verb, "zero") == 0) {
        sqe = raw_io(IO_WRITE_ZEROES, 1, lba, 1, 0, false);
        status = raw_status(raw_cmd(q, &sqe, NULL, 0));
    } else {
        struct nvme_dsm_range r = {.nlb = to_le32(j->span), .slba = to_le64(lba)};

        sqe = raw_sqe(IO_DSM, 1, 1);
        sqe.sgl.type = SGL_OFFSET;
        sqe.sgl.length = to_le32(sizeof(r));
        sqe.cdw11 = to_le32(4);
        status = raw_status(raw_cmd(q, &sqe, &r, sizeof(r)));
    }
    if (status != 0 && status != 0xffff)
        snprintf(name, 24, "status-%03x", status & 0x7ff);
    return status;
}

static int run(const struct raw_srv *s, const char *nqn, const struct job *j)
{
    struct raw_connect p = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF, .subnqn = nqn}, pq = p;
    struct raw_conn a = raw_admin(s, false, false, &p), q = {.fd = -1};
    char name[24];
    bool ended = a.fd < 0;

    if (!ended) {
        q.fd = raw_open(s);
        pq.qid = 1;
        pq.cntlid = a.cntlid;
        pq.sqsize = 127;
        ended = !raw_ic(&q) || raw_status(raw_connect(&q, &pq)) != 0;
    }
    for (uint64_t i = 0; i < j->nr && !ended; i++) {
        uint64_t lba = j->lba + i * j->stride;

        if (one(&q, j, lba, name) == 0xffff)
            ended = true;
        else
            count(name, lba);
    }
    print_outcomes();
    if (ended)
        printf("ended\n");
    return ended;
}

int main(int argc, char **argv)
{
    static const char *const verbs[] = {"write", "read", "zero", "trim", "free"};
    struct raw_srv s = {0};
    struct job j = {0};
    uint32_t stamps[8];
    bool known = false;
    char *x;

    if (argc < 6 || argc > 6 + 8) {
        fprintf(stderr, "usage: blocks PORT NQN write|read|zero|trim|free FIRST COUNT [STAMP...]\n");
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        known |= strcmp(argv[3], verbs[i]) == 0;
    if (!known || (argc == 6 && (argv[3][0] == 'w' || argv[3][0] == 'r')))
        return 2;
    for (int i = 6; i < argc; i++)
        stamps[i - 6] = (uint32_t)strtoul(argv[i], NULL, 10);
    s.port = (uint16_t)strtoul(argv[1], NULL, 10);
    j = (struct job){.verb = argv[3], .lba = strtoull(argv[4], NULL, 10), .stride = 1, .span = 1, .stamps = stamps, .nr_stamps = argc - 6};
    j.nr = strtoull(argv[5], &x, 10);
    if (*x == 'x')
        j.stride = strtoull(x + 1, NULL, 10);
    if (strcmp(j.verb, "free") == 0) {
        j.span = (uint32_t)j.nr;
        j.nr = 1;
    }
    return run(&s, argv[2], &j);
}
