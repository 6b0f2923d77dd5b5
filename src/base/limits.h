/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h: every fixed bound, its unit and its reason; and how the bounds relate. */
#ifndef FIRN_BASE_LIMITS_H
#define FIRN_BASE_LIMITS_H

#include "base/types.h"

#define REACTORS_MAX        64u   /* reactors a process; also shards a pool */
#define VOLUMES_MAX         16384u /* volumes a node; 10,000 idle ones must fit into 64 MiB */
#define CAPACITY_DEVS_MAX   64u   /* HDDs a pool */
#define CACHE_DEVS_MAX      16u
#define HOSTS_PER_VOLUME_MAX 32u  /* entries of a volume's allow-list */
#define LAYERS_PER_VOLUME_MAX 256u /* a volume's stack: one live layer above its snapshots */

#define QUEUE_DEPTH_MAX     128u  /* commands outstanding on an I/O queue (MQES + 1) */
#define ADMIN_DEPTH         32u
#define QUEUES_PER_CTRL_MAX 64u   /* I/O queues a controller */
#define MDTS_BYTES          (512u * 1024u) /* largest data transfer of one command */
#define IN_CAPSULE_BYTES    8192u /* in-capsule data of I/O queues; spec fixes 8192 for admin and fabrics commands */
#define H2C_DATA_MAX_BYTES  (512u * 1024u) /* MAXH2CDATA: largest H2CData PDU payload */
#define CONNECTIONS_MAX     10000u
#define PRE_CONNECT_MAX     1024u /* sockets that have not finished Connect */
#define NQN_MAX_BYTES       223u  /* NVMe base specification, 4.7 */

#define VOLUME_BYTES_MAX    (UINT64_C(256) << 40) /* 2^36 blocks: what the index's key holds */
#define EXTENT_BYTES        (1u << 20)
#define EXTENT_BLOCKS       (EXTENT_BYTES / BLOCK_BYTES)

/* Sequence numbers have 48 bits in the index. What media name is bounded below that, else a crafted image would leave no number
 * for the next write: 2^44 are left, for half a year of a million writes a second. */
#define SEQ_BITS            48u
#define SEQ_MEDIA_MAX       ((UINT64_C(1) << SEQ_BITS) - (UINT64_C(1) << 44))

/* The same for epochs, groups of the log and batches of the metadata. A start refuses to number on from beyond the _START_ bounds:
 * what it wrote then might pass what media may name, and the next start would not believe it. */
#define NUMBER_MEDIA_MAX    (UINT64_C(1) << 62)
#define NUMBER_START_MAX    (NUMBER_MEDIA_MAX / 2)
#define SEQ_START_MAX       (SEQ_MEDIA_MAX - (UINT64_C(1) << 43))

/* Floor for the simulator and tests: header, summary, footer and the longest record (half a segment) with its header fit, in blocks of
 * 4096 bytes, too. Configuration asks for 16 MiB or more. */
#define SEGMENT_BYTES_MIN   (64u * 1024u)
#define SEGMENT_BYTES_MAX   (256u << 20)
#define SEGMENTS_MAX        (1u << 20)
#define GROUP_RECORDS_MAX   128u  /* records that share one group header */
#define GROUP_BYTES_MAX     (1u << 20) /* payload of one commit group */

#define API_BODY_BYTES_MAX   (64u * 1024u)
#define API_HEADER_BYTES_MAX (8u * 1024u)

static_assert(EXTENT_BLOCKS == 256, "the map's bitmaps hold 256 blocks");
static_assert(MDTS_BYTES <= GROUP_BYTES_MAX, "one command's write fits one commit group");
static_assert(MDTS_BYTES % BLOCK_BYTES == 0, "whole blocks");
static_assert(GROUP_BYTES_MAX * 2u <= (16u << 20), "a production segment holds several groups");

#endif
