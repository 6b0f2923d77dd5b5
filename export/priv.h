/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: what the files of export/ share. Reading order: target_env, queue, cmd, ctrl, subsys.
 *
 * Ownership: a queue owns its connection and its commands; a controller knows its queues; a subsystem knows its
 * controllers. All of one subsystem live on one env, so nothing on the data path is shared or locked. What several envs
 * touch (the registry of subsystems, hosts' rights, the pools of queues and controllers, counts) is under target.lock,
 * which only accept, Connect and close take. The registry and rights are changed on envs[0] alone, so there they are also
 * read without it.
 */
#ifndef FIRN_EXPORT_PRIV_H
#define FIRN_EXPORT_PRIV_H

#include <pthread.h>

#include "base/list.h"
#include "base/pool.h"
#include "export/export.h"
#include "export/pdu.h"
#include "export/spec.h"
#include "rt/metrics.h"
#include "rt/trace.h"

#define RX_SMALL_BYTES   640u           /* receive buffer inside a queue: idle connections and admin queues need no more */
#define RX_STAGE_BYTES   (16u * 1024u)  /* of an I/O queue once it has spoken */
#define RX_BULK_BYTES    (128u * 1024u) /* of a queue whose last receive filled its buffer */
#define RX_BULK_NR       128u           /* an env */
#define RX_DIRECT_MIN    4096u          /* payload still to come from here on goes straight to the command's buffers */
#define RX_BUDGET_EVENTS 512            /* parser events a pass of one queue, then the others */
#define TX_IOV_MAX       256
#define TX_HDR_BYTES     (16u * 1024u)
#define TX_BATCH_BYTES   (2u << 20)     /* payload of one send */
#define CMD_TX_HDR_MAX   (PDO_MAX + DGST_BYTES + sizeof(struct pdu_capsule_resp) + DGST_BYTES)
#define CHUNK_SMALL      4096u
#define CHUNK_LARGE      (64u * 1024u)
#define SMALL_MAX_BYTES  (2 * CHUNK_SMALL) /* data that small chunks serve */
#define CHUNKS_MAX       (BLK_IOV_MAX + 1) /* data and one of scratch */
#define QUEUE_DATA_MAX   (8u << 20)     /* bytes of buffers one queue may hold: bounds what a slow reader pins */
#define DISCOVERY_DATA_MAX SMALL_MAX_BYTES /* the same for discovery, which anybody may ask: one answer, and no large chunks */
#define DISCOVERY_QUEUES_MIN 16u        /* so many connections to discovery are let in, or an eighth of connections_max */
#define CMDS_PER_ENV_MAX 32768u         /* also bounds TTAG */
#define AER_MAX          4u
#define TERM_WAIT_NS     (5 * NS_PER_S) /* a host that got a termination request closes by then, or is cut */
#define DRAIN_NS         (5 * NS_PER_S) /* target_stop() waits so long for a queue */
#define PART_NS          (1 * NS_PER_S) /* and then for the host to close; Linux does within milliseconds */
#define CID_BUCKETS      128u
#define PRE_BUCKETS      64u     /* addresses that connections before Connect come from, by hash */
#define SUBSYS_BUCKETS   4096u
#define DISC_VIEWS       8u      /* hosts that read the discovery log at the same time without making each other's view anew */

static_assert(CHUNK_LARGE * BLK_IOV_MAX >= MDTS_BYTES, "one command fits one blk request");
static_assert(IN_CAPSULE_BYTES <= SMALL_MAX_BYTES, "in-capsule data never waits for large chunks");
static_assert(RX_SMALL_BYTES >= PDU_HDR_MAX, "any header fits");

struct queue;
struct ctrl;
struct cmd;

enum step { STEP_AGAIN, STEP_WAIT, STEP_FATAL };
enum scarce { SCARCE_NOT, SCARCE_SHARED, SCARCE_ALL }; /* chunks: for everybody; for who holds none; for nobody */

/* ---- one env's part of the target ------------------------------------------------------------------------------- */

struct tx_batch {              /* what one send carries */
    struct list  cmds;         /* of cmd.tx_node: their buffers are being sent */
    struct iovec iov[TX_IOV_MAX];
    int          iovcnt;
    uint32_t     hdr_bytes;    /* used of hdr */
    uint64_t     data_bytes;
    bool         open;         /* the last element is the end of hdr: more header bytes extend it */
    uint8_t      hdr[TX_HDR_BYTES];
};

struct env_stats { struct metric_counter protocol_errors, digest_errors, fenced_commands, refused; };

struct pre_bucket { struct list queues; uint32_t nr; }; /* of queue.pre_node, oldest first */

#define ENV_POOLS(x) x(cmds) x(stages) x(bulks) x(batches) x(small) x(large)

struct target_env {
    struct target  *t;
    struct env     *env;
    struct list     queues;      /* of queue.node */
    struct pre_bucket pre[PRE_BUCKETS]; /* those accepted here that have not said who they are */
    uint32_t        nr_pre;
#define X(name) struct pool name;
    ENV_POOLS(X)
#undef X
    struct list     wait_cmd;    /* queues that wait for a command slot: queue.rx_wait */
    struct list     wait_cover;  /* queues that wait for cover (slots.c), to be given an R2T: queue.cover_wait */
    uint32_t        promised;    /* free slots that covered queues alone may take */
    uint32_t        nr_parked, nr_parked_disc; /* slots of event requests: of hosts of volumes; of discovery */
    struct list     wait_lines;  /* subsystems with commands that wait for chunks or their blk, in turn: subsys.wait_node */
    enum scarce     scarce[2];   /* of large and small chunks, who goes without for now: for somebody waits who comes first */
    struct env_task wake_task;   /* looks at the three lists */
    struct env_task stop_task;
    struct env_stats stats;
    uint64_t        said_from_ns; /* refusals in the log (connect.c): since when they are counted, */
    uint32_t        said, unsaid; /* lines, and refusals left out */
    uint64_t        full_said_ns; /* when the log was told last that the target is full (target.c); 0: never */
    uint32_t        full_unsaid;  /* connections refused for that since */
};

/* What one host may see of the registry: the log pages that it asks for are windows of this. On envs[0]. */
struct disc_view {
    struct subsys **list;        /* target.view_cap of them; valid while genctr is the target's */
    uint32_t        nr;
    uint64_t        genctr;      /* 0: none */
    uint64_t        used;        /* target.views_used when it was last asked for */
    char            hostnqn[NQN_MAX_BYTES + 1];
};

struct target {
    struct target_opts opts;
    struct target_env *te;       /* opts.nr_envs of them */
    struct export_bugs bugs;
    pthread_mutex_t lock;        /* everything below */
    struct pool     queues, ctrls;
    uint32_t        nr_queues, nr_pre_connect;
    struct subsys  *bucket[SUBSYS_BUCKETS];
    struct list     subsystems;  /* of subsys.node, oldest first */
    uint32_t        nr_subsystems;
    uint64_t        genctr;      /* of the discovery log; written on envs[0], from 1 */
    bool            stopping, stopped; /* stopping: also read without the lock */
    uint32_t        stop_left;   /* envs that have not begun to drain */
    struct subsys  *discovery;   /* the discovery subsystem; home is envs[0] */
    void          (*stop_cb)(void *ctx);
    void           *stop_ctx;
    struct env_task stop_task, disc_task;
    bool            disc_posted;
    struct disc_view views[DISC_VIEWS]; /* on envs[0], without the lock: to the end */
    uint32_t        view_cap;    /* subsystems that a view has room for */
    uint64_t        views_used, views_made;
};

/* ---- queue: one connection ---------------------------------------------------------------------------------------- */

enum queue_state {
    QUEUE_IC,         /* waits for ICReq */
    QUEUE_CONNECT,    /* waits for the Connect capsule and its data */
    QUEUE_MOVING,     /* on its way to the subsystem's env */
    QUEUE_CONNECTING, /* Connect is being decided; may wait for a fence */
    QUEUE_LIVE,
    QUEUE_DRAIN,      /* reads no more; ends when its commands have been answered */
    QUEUE_TERM,       /* a termination request, or just the end of our stream, goes out, then the host is given time to close */
    QUEUE_CLOSING,    /* the connection is being cut; commands in the blk are awaited */
    QUEUE_NR,
};

struct connect_req { struct nvme_sqe sqe; uint32_t have; bool bad_digest; uint8_t data[sizeof(struct fabrics_connect_data)]; };

struct queue {
    struct target     *t;
    struct target_env *te;
    struct net_conn   *conn;
    struct list        node;        /* target_env.queues */
    struct list        rx_wait;     /* target_env.wait_cmd, or subsys.pending */
    struct list        cover_wait;  /* target_env.wait_cover */
    struct list        pre_node;    /* target_env.pre, while pre_connect */
    struct pre_bucket *pre;
    enum queue_state   state;
    bool               discovery_only;

    /* receive */
    struct pdu_parser  pdu;
    struct net_io      rx_io;
    struct iovec       rx_iov[CHUNKS_MAX];
    bool               rx_busy;     /* a receive is outstanding */
    bool               rx_blocked;  /* waits for a buffer, a slot or a decision: bytes stay where they are */
    bool               rx_full;     /* the last receive filled the buffer */
    uint32_t           rx_direct;   /* bytes of the outstanding receive that lie in rx_cmd's buffers */
    uint32_t           rx_pos, rx_len, rx_cap;
    uint8_t           *rx_buf;      /* rx_small, or from the pools stages or bulks */
    struct cmd        *rx_cmd;      /* the payload's command; NULL: it is dropped */
    uint32_t           rx_off;      /* where in its data the next byte goes */
    uint32_t           rx_sum;      /* digest of the payload up to the last whole block */
    bool               rx_last;     /* the payload ends its R2T */
    bool               capsule_waits; /* a capsule without a slot: its entry is in connect.sqe */
    uint32_t           capsule_data;  /* its in-capsule bytes */
    struct env_task    rx_task;

    /* send */
    struct net_io      tx_io;
    struct iovec       tx_iov;      /* for ctl */
    struct tx_batch   *batch;       /* being sent */
    struct list        tx_list;     /* of cmd.tx_node: to be sent */
    bool               tx_busy, ctl_busy; /* a send is outstanding; it is ctl's */
    bool               tx_fin;      /* after ctl the stream ends, and what comes is read and dropped; else, in TERM, it is closed */
    uint32_t           ctl_bytes;   /* a PDU of the queue itself that goes out next; 0: none */
    uint64_t           tx_start_ns;
    struct env_task    tx_task;

    /* association */
    struct subsys     *s;
    struct ctrl       *ctrl;
    uint16_t           qid, sqsize, sqhd; /* sqsize is 0-based */
    bool               sqflow_off;
    uint8_t            pda_bytes;   /* the host's alignment of data: (HPDA + 1) * 4 */
    uint64_t           deadline_ns; /* of Connect, drain or termination */
    uint64_t           paused_ns;   /* how long it waited for small chunks in all: time that is not the host's */
    uint64_t           pause_start_ns; /* it waits for them since then; 0: it does not */

    /* commands */
    struct list        cmds;        /* of cmd.node */
    struct list        wait_quota;  /* of cmd.wait_node */
    uint32_t           nr_cmds, nr_held; /* held: executing */
    uint32_t           nr_open;     /* whose answer is not on its way yet: what SQSIZE bounds */
    uint32_t           nr_owed;     /* commands whose host data is to come, or will be asked for when chunks are there */
    bool               covered;     /* slots are promised to it: see slots.c */
    bool               cover_turn;  /* what waits is being let through */
    uint32_t           data_bytes;  /* of chunks that its commands hold, or are in line for */
    uint32_t           nr_chunks;   /* that they hold */
    bool               conn_closed, pre_connect; /* pre_connect: counted in target.nr_pre_connect, on a list of its env */
    struct cmd        *by_cid[CID_BUCKETS / 4]; /* chained by cmd.cid_next */

    struct env_timer   timer;       /* Connect, send, drain, termination: see queue_timer() */
    struct env_task    task;        /* travels by env_post() */
    uint8_t            ctl[TERM_REQ_PLEN_MAX + DGST_BYTES];
    uint8_t            rx_small[RX_SMALL_BYTES];
    struct connect_req connect;
};
static_assert(sizeof(struct queue) <= 4096, "what a connection costs before Connect");

/* ---- cmd: one command ------------------------------------------------------------------------------------------------ */

enum cmd_state {
    CMD_FREE,
    CMD_RECEIVED,    /* parsed; its in-capsule data may still be on the way */
    CMD_WAIT_BUFFER, /* waits for chunks, for its queue's share of them, or for the word of a blk that keeps to a rate */
    CMD_WANT_DATA,   /* an R2T is outstanding */
    CMD_EXECUTING,
    CMD_PARKED,      /* an asynchronous event request */
    CMD_SENDING,     /* answer queued or in a send */
    CMD_STATE_NR,
};
enum cmd_dir { DIR_NONE, DIR_H2C, DIR_C2H };

struct cmd;
struct cmd_op {
    uint16_t (*prepare)(struct cmd *c); /* sets dir, bytes, scratch, ios, moves; a status other than 0 ends the command */
    void     (*execute)(struct cmd *c); /* ends in cmd_complete(), now or later */
};

struct cmd {
    struct queue        *q;
    const struct cmd_op *op;
    struct list          node;      /* queue.cmds */
    struct list          tx_node;   /* queue.tx_list or tx_batch.cmds */
    struct list          wait_node; /* subsys.line or queue.wait_quota; ctrl.aers */
    struct cmd          *cid_next;
    enum cmd_state       state;
    enum cmd_dir         dir;
    bool                 in_capsule, hashed, open, bad_digest, send_r2t, scratch, waiting, silent, owes;
    bool                 begun;     /* its blk said that it may begin */
    uint32_t             ios;       /* what it asks its blk for: it counts as so many requests, 0: it need not ask; */
    uint32_t             moves;     /* and moves so many bytes */
    uint16_t             cid;
    uint16_t             status;    /* of the answer */
    uint64_t             result;
    uint32_t             bytes;     /* of its data */
    uint32_t             got;       /* of host data received: next offset of the R2T */
    uint32_t             nr_sums;   /* blocks whose crc is known from the data digest */
    uint32_t             claim;     /* its part of queue.data_bytes */
    uint8_t              nr_chunks; /* data and scratch */
    bool                 small;     /* which pool they are from */
    int                  iovcnt;
    struct iovec         iov[CHUNKS_MAX]; /* chunks; the data's first, then scratch; lengths are the data's */
    uint64_t             start_ns;
    uint64_t             owed_ns;   /* queue_host_ns() when the host could begin to send its data: R2T, or the capsule's header */
    struct nvme_sqe      sqe;
    struct blk_io        io;
    uint64_t             at, left;  /* cursor of commands that take several blk requests, in logical blocks */
    uint32_t             at_range;  /* Dataset Management */
    uint32_t             crc[MDTS_BYTES / BLOCK_BYTES]; /* of each block, plain CRC32C */
};

/* ---- ctrl, subsys ------------------------------------------------------------------------------------------------------ */

enum ctrl_state { CTRL_FREE, CTRL_LIVE, CTRL_DYING, CTRL_NR };
enum { EVENT_NS = 1, EVENT_DISCOVERY = 2 };

struct ctrl {
    struct subsys    *s;
    struct list       node;       /* subsys.ctrls */
    enum ctrl_state   state;
    uint16_t          cntlid;
    uint16_t          nr_queues;  /* connections alive, admin included */
    uint16_t          io_queues_granted;
    uint32_t          kato_ms;
    uint32_t          cc, csts;
    bool              resetting;  /* CC.EN was cleared; CSTS.RDY goes when the last I/O queue has gone */
    uint64_t          last_seen_ns;
    struct env_timer  kato_timer;
    uint32_t          async_config;
    unsigned          events, events_masked; /* EVENT_*: pending; told and not yet read */
    bool              ns_changed;
    struct list       aers;       /* of cmd.wait_node, oldest first */
    uint32_t          nr_aers;
    uint32_t          features[4];/* values hosts may set and read: arbitration, power, temperature, error recovery */
    uint8_t           host_behavior;
    uint64_t          log_genctr; /* discovery: what the last first page showed */
    struct queue     *queues[QUEUES_PER_CTRL_MAX + 1];
    uint8_t           hostid[16];
    char              hostnqn[NQN_MAX_BYTES + 1];
};

struct subsys_stats {
    struct metric_counter ops[SUBSYS_OP_NR], bytes[SUBSYS_OP_NR];
    struct metric_hist    latency[SUBSYS_OP_NR];
};

/* What a command may wait for, in order of arrival each. */
enum line {
    LINE_LARGE, LINE_SMALL,           /* chunks: commands that need nothing else */
    LINE_BEGIN_LARGE, LINE_BEGIN_SMALL, /* chunks, and the blk's word: together, so that who is held back holds none */
    LINE_BEGIN,                       /* the blk's word alone: its data came in the capsule, or is to be asked for, or it has none */
    LINE_NR,
};

struct subsys {
    struct subsys_params p;
    struct target       *t;
    struct target_env   *home;
    struct subsys       *hash_next;  /* target.lock */
    struct list          node;       /* target.lock */
    char                *hosts;      /* target.lock: NUL-terminated names, an empty one ends; NULL: none */
    bool                 hosts_posted, any_host; /* target.lock */
    uint32_t             refs;       /* atomic: queues bound to it, wherever they are */
    uint32_t             nr_ctrls;   /* atomic: written at home */
    /* at home */
    struct list          ctrls;      /* of ctrl.node */
    struct list          pending;    /* of queue.rx_wait: Connects behind a fence */
    uint16_t             last_cntlid;
    bool                 removing, removed;
    bool                 shut;       /* its blk said no; BLK_EVENT_MAY_BEGIN will come */
    struct list          line[LINE_NR]; /* of cmd.wait_node */
    struct list          wait_node;  /* target_env.wait_lines */
    uint32_t             held[2];    /* large and small chunks of its commands */
    struct blk_watch     watch;
    bool                 watching;
    struct subsys_stats *stats;      /* from the first Connect on; atomic pointer */
    struct env_task      task, hosts_task;
    void               (*remove_cb)(void *ctx);
    void                *remove_ctx;
};
static_assert(sizeof(struct subsys) <= 1024, "10,000 idle volumes");

/* ---- target.c */
void target_queue_gone(struct target *t, struct queue *q); /* gives q back; target_stop() may be waiting for it */
void target_pre_connect_done(struct queue *q);             /* it counts no more as one before Connect, if it did */
void target_release(struct target *t);                     /* its memory; pools that were never made are passed over */

/* ---- subsys.c */
struct subsys *subsys_get(struct target *t, const char *nqn); /* a reference, or NULL; any env */
void subsys_put(struct subsys *s);                            /* at home */
bool subsys_host_allowed(struct subsys *s, const char *hostnqn);
bool subsys_host_allowed_locked(const struct subsys *s, const char *hostnqn);
bool subsys_stats_ready(struct subsys *s);                    /* false: out of memory */
void subsys_count(struct subsys *s, enum subsys_op op, uint64_t bytes, uint64_t start_ns);
void subsys_watch(struct subsys *s);                          /* follows the number of controllers */
int  subsys_new_discovery(struct target *t, struct subsys **out);
static inline bool subsys_is_discovery(const struct subsys *s) { return s->p.blk == NULL; }

/* ---- queue.c */
void queue_set_state(struct queue *q, enum queue_state to);
void queue_start(struct queue *q);                  /* a fresh one, on its accepting env */
void queue_close(struct queue *q, bool abort);      /* idempotent */
void queue_terminate(struct queue *q, uint16_t fes, uint32_t fei); /* termination request, then close */
void queue_move(struct queue *q);                   /* to q->s's home; there connect_run() */
void queue_drain(struct queue *q);
void queue_maybe_done(struct queue *q);             /* after anything that DRAIN or CLOSING may wait for */
void queue_arm_timer(struct queue *q, uint64_t deadline_ns);
void queue_watch(struct queue *q);                  /* the host has something to do now, within send_timeout: read, or send data */
uint64_t queue_host_ns(const struct queue *q);      /* a clock that stands still while the host waits for chunks of ours */
void queue_pause(struct queue *q);
void queue_resume(struct queue *q);

/* ---- queue_rx.c */
void queue_rx_run(struct queue *q);                 /* parses what is there, then receives */
void queue_rx_schedule(struct queue *q);
void queue_rx_unblock(struct queue *q);
void queue_rx_release(struct queue *q);             /* gives the receive buffer back */

/* ---- queue_tx.c */
void queue_tx_schedule(struct queue *q);
void queue_tx_ctl(struct queue *q, uint32_t bytes); /* sends q->ctl before anything else */
void queue_tx_release(struct queue *q);
void queue_send_connect_resp(struct queue *q, uint16_t status, uint64_t result);

/* ---- cmd.c */
struct cmd *cmd_new(struct queue *q, const struct nvme_sqe *sqe); /* NULL: no slot */
void cmd_set_state(struct cmd *c, enum cmd_state to);
struct cmd *cmd_by_ttag(struct queue *q, uint16_t ttag);          /* only slots of q with an R2T outstanding */
uint16_t cmd_ttag(const struct cmd *c);
bool cmd_cid_busy(const struct queue *q, uint16_t cid);
void cmd_answered(struct cmd *c);                                 /* its answer is on its way: the host may use the CID again */
void cmd_begin(struct cmd *c, uint32_t in_capsule_bytes);         /* checks, then buffers, R2T or execution */
void cmd_data_end(struct cmd *c);                                 /* its host data is complete */
void cmd_complete(struct cmd *c, uint16_t status);
void cmd_free(struct cmd *c);
void cmd_granted(struct cmd *c);                                  /* what it waited for is there */
void cmd_copy_in(struct cmd *c, uint32_t off, const void *from, size_t n);
void cmd_copy_out(const struct cmd *c, uint32_t off, void *to, size_t n);
void cmd_zero_data(struct cmd *c);
uint16_t cmd_check_sgl(const struct cmd *c, uint32_t in_capsule_bytes); /* pure */
static inline uint32_t cmd_chunk_bytes(const struct cmd *c) { return c->small ? CHUNK_SMALL : CHUNK_LARGE; }
static inline bool cmd_wants_r2t(const struct cmd *c) { return c->dir == DIR_H2C && !c->in_capsule; } /* its data comes so */
static inline uint64_t cmd_nsid(const struct cmd *c) { return from_le32(c->sqe.nsid); }

void cmd_quota_retry(struct queue *q);                            /* lets through what waits for its queue's share or cover */
bool cmd_quota_room(const struct queue *q);                       /* the first that waits fits its queue's share */

/* ---- slots.c */
uint32_t slots_nr(const struct target_opts *o);
struct cmd *slot_take(struct queue *q);              /* NULL: none for q now */
void slot_give(struct queue *q, struct cmd *c);
void slot_wait(struct queue *q);                     /* q reads no more until there is one */
bool slots_for_event(const struct queue *q);         /* may one more event request of q keep its slot? */
uint32_t *slots_parked(const struct queue *q);       /* the count that event requests of q are in */
bool cover_get(struct queue *q);                     /* may q be given an R2T? false: it is in line, or will be */
void cover_owe(struct cmd *c);                       /* its data will be asked for */
void cover_paid(struct cmd *c);                      /* it came, or c ends without */
void slots_serve(struct target_env *te);

/* ---- buf.c: chunks */
int  buf_init(struct target_env *te, uint32_t nr_large);
void buf_claim(struct cmd *c);                      /* they count against its queue's share from here on */
bool buf_fits(struct target_env *te, struct cmd *c); /* c, which has claimed, may have all its chunks now */
void buf_take(struct target_env *te, struct cmd *c);
void buf_put(struct target_env *te, struct cmd *c);

/* ---- line.c: who waits for chunks, or until its blk lets it begin */
bool line_get_chunks(struct cmd *c);                /* all chunks of c, or none: then it waits its turn; cmd_granted() */
bool line_may_begin(struct cmd *c);                 /* c, which lacks nothing else or will ask for its data: the same */
void line_leave(struct cmd *c);                     /* this, or its queue's wait_quota, if it waits */
void lines_open(struct subsys *s);                  /* its blk may have another answer */
void lines_serve(struct target_env *te);
void target_env_wake(struct target_env *te);        /* something that others wait for was given back */

/* ---- connect.c, ctrl.c, fabrics.c */
void connect_received(struct queue *q);             /* the first capsule is whole, in q->connect: find its subsystem, go there */
void connect_run(struct queue *q);                  /* at home: decide it */
void connect_late(struct queue *q);                 /* it waited for its identifier in vain */
void connect_io_pending(struct subsys *s);          /* an I/O queue has gone: decide those anew that may have waited for it */
uint32_t connect_check_data(const struct fabrics_connect_data *d); /* pure: 0, or what the answer's result says */
const struct cmd_op *fabrics_op(const struct nvme_sqe *sqe);
uint64_t ctrl_cap(const struct target *t);
struct ctrl *ctrl_new(struct queue *admin, const struct fabrics_connect *sqe, const struct fabrics_connect_data *d);
void ctrl_queue_gone(struct queue *q);              /* its connection ended and its commands are drained */
void ctrl_go_live(struct ctrl *c, struct queue *q); /* q's Connect was granted */
void ctrl_fail(struct ctrl *c, const struct queue *spare); /* cuts every queue but spare; it is gone when all are drained */
void ctrl_reset(struct ctrl *c);                    /* CC.EN was cleared */
void ctrl_seen(struct ctrl *c);
void ctrl_set_kato(struct ctrl *c, uint32_t kato_ms);
void ctrl_event(struct ctrl *c, unsigned event);
void ctrl_event_read(struct ctrl *c, unsigned event);
void ctrl_events_run(struct ctrl *c);

/* ---- commands by queue kind; NULL: no such opcode */
const struct cmd_op *admin_op(const struct ctrl *c, const struct nvme_sqe *sqe);
const struct cmd_op *io_op(const struct nvme_sqe *sqe);
extern const struct cmd_op identify_op, get_log_op, get_features_op, set_features_op;
void log_discovery(struct cmd *c, uint64_t off);    /* fills c's data from offset off of the discovery log */
void discovery_changed(struct target *t);           /* with target.lock held */
int  discovery_reserve(struct target *t, uint32_t nr); /* room for nr subsystems, so that asking needs none */
void discovery_fini(struct target *t);

/* ---- identify.c, also for tests */
void identify_ctrl_fill(const struct ctrl *c, struct nvme_id_ctrl *id);
void identify_ns_fill(const struct subsys *s, struct nvme_id_ns *id);

/* ---- status.c */
uint16_t status_of_err(int err);

#endif
