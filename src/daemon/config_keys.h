/* SPDX-License-Identifier: Apache-2.0 */
/* config_keys.h: every key of firn.conf, once. The parser, the defaults, etc/firn.conf (firnd --print-config), SIGHUP,
 * GET /v1/config and the tests are all fed from this list.
 *
 * path: where the key stands. kind: how its value is written. member: field of struct config. min, max: range of the
 * value, or of the length of a text. shown: the default as it is written in the file; for a key that has none
 * (KEY_REQUIRED), an example. flags: enum config_flags. help: what it is and what it trades.
 */
#ifndef FIRN_DAEMON_CONFIG_KEYS_H
#define FIRN_DAEMON_CONFIG_KEYS_H

/*    path                     kind      member                min          max               shown  flags  help */
#define CONFIG_KEYS(x)                                                                                                  \
    x("node",                  NAME,     node,                 0,           63,               "", 0,                    \
      "name of this node, part of every volume's NQN; empty: the host name. Changing it renames every subsystem")       \
    x("reactors",              UINT,     reactors,             0,           REACTORS_MAX,     "0", 0,                   \
      "threads that do I/O; 0: one for each core the process may use. More carry more volumes at once")                 \
    x("pool.name",             NAME,     pool_name,            1,           63,               "default", 0,             \
      "name of the pool, in labels and metrics")                                                                        \
    x("pool.metadata",         PATH,     pool_metadata,        1,           200,              "/var/lib/firn/meta", 0,  \
      "directory of the metadata (LMDB); belongs on the SSD")                                                           \
    x("pool.metadata_size",    SIZE,     pool_metadata_size,   64 * MIB,    16 * TIB,         "0", KEY_ZERO,            \
      "address space for the metadata to begin with; it grows when that is full. 0: 1 GiB and 2 GiB a TiB of capacity. No memory") \
    x("pool.buffered",         BOOL,     pool_buffered,        0,           1,                "false", 0,               \
      "go through the page cache, for file systems without O_DIRECT; slower, as durable")                               \
    x("pool.journal.path",     PATH,     journal_path,         1, 200, "/dev/disk/by-id/nvme-A-part1", KEY_REQUIRED,    \
      "SSD, partition or file that holds the log: every write lands here first")                                        \
    x("pool.journal.size",     SIZE,     journal_size,         64 * MIB,    256 * TIB,        "16GiB", KEY_ZERO,        \
      "bytes of it to use; 0, or left out: the whole device. A file is made this long. More absorbs longer bursts")                  \
    x("pool.journal.pmem",     BOOL,     journal_pmem,         0,           1,                "false", 0,               \
      "the journal is persistent memory (DAX file or /dev/dax), written through libpmem")                               \
    x("export.listen",         ADDR,     export_listen,        1,           45,               "0.0.0.0", 0,             \
      "address that NVMe/TCP hosts connect to")                                                                         \
    x("export.port",           UINT,     export_port,          0,           65535,            "4420", 0,                \
      "port for I/O and discovery; 0: the kernel chooses")                                                              \
    x("export.discovery_port", UINT,     export_discovery_port, 0,          65535,            "8009", 0,                \
      "second port for discovery; 0: the kernel chooses")                                                               \
    x("export.announce",       ADDR,     export_announce,      0,           45,               "", 0,                    \
      "address told to hosts in discovery; empty: export.listen. Set it where hosts see another address")               \
    x("export.poll",           DURATION, export_poll_ns,       0,           10 * NS_PER_MS,   "50us", 0,                \
      "longest spin after work before a reactor sleeps; latency against CPU. Adaptive; up to 8 times as long with 32 requests at devices") \
    x("export.queues",         UINT,     export_queues,        1,           QUEUES_PER_CTRL_MAX, "16", 0,               \
      "I/O queues a host may open to a volume; more spreads over cores, each costs memory")                             \
    x("export.connect_timeout", DURATION, export_connect_ns,   100 * NS_PER_MS, 60 * NS_PER_S, "5s", 0,                 \
      "a connection that has not finished Connect by then is cut")                                                      \
    x("export.send_timeout",   DURATION, export_send_ns,       NS_PER_S,    600 * NS_PER_S,   "30s", 0,                 \
      "a host that leaves answers unread or owes data for so long is cut")                                              \
    x("api.unix",              PATH,     api_unix,             0,           107,              "/run/firn/firnd.sock", 0, \
      "unix socket of the HTTP API, mode 0600; empty: none")                                                            \
    x("api.listen",            ADDR,     api_listen,           0,           45,               "127.0.0.1", 0,           \
      "TCP address of the HTTP API; empty: none. Other than loopback needs api.token_file")                             \
    x("api.port",              UINT,     api_port,             0,           65535,            "9920", 0,                \
      "TCP port of the HTTP API; 0: the kernel chooses")                                                                \
    x("api.token_file",        PATH,     api_token_file,       0,           200,              "", KEY_RELOAD,           \
      "file with the token that TCP clients send; empty: TCP answers /healthz, /readyz and /metrics only")              \
    x("tier.profile",          PROFILE,  tier_profile,         1,           16,               "balanced", KEY_RELOAD,   \
      "balanced, low-wear, mysql, cassandra or archive: other defaults for the keys named here; a key that is set wins")      \
    x("tier.admit",            UINT,     tier_admit,           1,           4,                "2", KEY_RELOAD,          \
      "times that a chunk of 64 KiB is missed before it is copied to the SSD; more writes less there and warms up later") \
    x("tier.admit_blocks",     BOOL,     tier_admit_blocks,    0,           1,                "false", KEY_RELOAD,      \
      "copy of a chunk only blocks that were asked for again (a volume that is hardly written: always); writes less, misses more")    \
    x("tier.admit_again",      UINT,     tier_admit_again,     1,           4,                "3", KEY_RELOAD,          \
      "times that a block is asked for while it is in memory before it is copied to the SSD (admit_blocks: until that is full)") \
    x("tier.admit_memory",     UINT,     tier_admit_memory,    1,           255,              "1", KEY_RELOAD,          \
      "turns of the cache for which it counts that a block was asked for (admit_blocks: once it is full); longer fills it sooner")    \
    x("tier.stream_cutoff",    SIZE,     tier_stream_cutoff,   64 * KIB,    TIB,              "4MiB", KEY_ZERO | KEY_RELOAD, \
      "nothing of a stream of reads that is longer is copied to the SSD; 0: streams are as good as anything")           \
    x("tier.destage_victims",  BOOL,     tier_destage_victims, 0,           1,                "false", KEY_RELOAD,      \
      "what is dirty in a log segment that is emptied goes to the HDD, not to another segment: spares the SSD, costs seeks") \
    x("tier.stage_size",       SIZE,     tier_stage_size,      256 * KIB,   16 * GIB,         "16MiB", 0,               \
      "memory for what was read from HDDs, of all reactors together: neighbours of what was asked for, and streams read ahead") \
    x("tier.fetch_size",       SIZE,     tier_fetch_size,      4 * KIB,     MIB,              "128KiB", KEY_RELOAD,     \
      "what a read of an HDD fetches, whole blocks of 4KiB, aligned; more spares seeks where neighbours are read soon, else it "\
      "costs transfer and memory")                                                                                       \
    x("tier.read_ahead_max",   SIZE,     tier_read_ahead_max,  4 * KIB,     16 * MIB,         "1MiB", KEY_RELOAD,       \
      "most that is fetched ahead of a host that reads an HDD in order, whole blocks; an eighth of tier.stage_size at most; "\
      "4KiB: nothing")                                                                                                   \
    x("tier.write_bypass",     SIZE,     tier_write_bypass,    4 * KIB,     TIB,              "0", KEY_ZERO | KEY_RELOAD, \
      "longer streams of writes go to the HDD past the SSD: less wear, slower writes. Older versions refuse the pool then; 0: never") \
    x("tier.write_bypass_part", UINT,    tier_write_bypass_part, 1,         1000,             "24", KEY_ZERO | KEY_RELOAD, \
      "and only those longer than one part in so many of a shard's log: what a large SSD keeps is read from it; 0: any of that length") \
    x("tier.write_bypass_rate", SIZE,    tier_write_bypass_rate, 4 * KIB,   TIB,              "2MiB", KEY_ZERO | KEY_RELOAD, \
      "and only what comes with so many bytes a second: less is written to the HDD in too many pieces; 0: however slow") \
    x("tier.dirty_start",      PERCENT,  tier_dirty_start,     1,           94,               "40", KEY_RELOAD,         \
      "part of a shard's log that may stay on the SSD: up to it only what is dense or cold is destaged, when HDDs rest. Lower risks less") \
    x("tier.dirty_max",        PERCENT,  tier_dirty_max,       2,           95,               "60", KEY_RELOAD,         \
      "part of a shard's log that may be dirty; writes wait there, in bursts (while disks read, or if many would wait) when a "\
      "third of the rest is left. Higher absorbs more, recovers longer")                                                 \
    x("tier.io_deadline",      DURATION, tier_io_deadline_ns,  NS_PER_S,    600 * NS_PER_S,   "30s", 0,                 \
      "a device whose oldest request is older is degraded: new requests to it fail at once")                            \
    x("tier.heat_half_life",   DURATION, tier_heat_half_life_ns, 60 * NS_PER_S, 30 * 24 * 3600 * NS_PER_S, "1h", 0,         \
      "heat of 4 MiB that nobody reads or writes halves in so long; that of placement takes 24 times as long. Shorter forgets sooner") \
    x("tier.migrate_rate",     SIZE,     tier_migrate_rate,    MIB,         TIB,              "16MiB", KEY_ZERO | KEY_RELOAD, \
      "bytes per second that move to a capacity device because of heat, in a pool of SSDs and HDDs; 0: none. More adapts sooner") \
    x("tier.migrate_heat",     UINT,     tier_migrate_heat,    1,           1000000,          "4", KEY_RELOAD,          \
      "heat, in powers of two, from which 4 MiB belong on such an SSD: 4 is about three requests of up to 64 KiB a day. More moves less") \
    x("mover.bandwidth",       SIZE,     mover_bandwidth,      MIB,         TIB,              "0", KEY_ZERO | KEY_RELOAD, \
      "bytes per second that background work may take from a capacity device; 0: no cap")                               \
    x("mover.iops",            UINT,     mover_iops,           1,           1000000,          "0", KEY_ZERO | KEY_RELOAD, \
      "writes per second that background work may send to a capacity device; 0: no cap")                               \
    x("mover.latency_target",  DURATION, mover_latency_ns,     NS_PER_MS,   10 * NS_PER_S,    "0s", KEY_ZERO | KEY_RELOAD, \
      "reads of a capacity device that take longer make background work pause between its writes, unless it is urgent; 0: never") \
    x("mover.hours",           HOURS,    mover_hours,          0,           11,               "", KEY_RELOAD,                   \
      "times of the day, in UTC, when background work may do what is not urgent, as \"22:00-06:00\"; empty: always")   \
    x("journal.segment_size",  SIZE,     journal_segment_size, 16 * MIB,    SEGMENT_BYTES_MAX, "0", KEY_ZERO,           \
      "unit of the log, chosen when the pool is formatted; 0: 1/1024 of it. Smaller is reclaimed sooner, with more moves") \
    x("journal.group_max",     SIZE,     journal_group_max,    16 * KIB,    GROUP_BYTES_MAX,  "256KiB", 0,              \
      "most payload of one commit group; larger costs latency under load and gains throughput")                         \
    x("journal.groups_in_flight", UINT,  journal_groups,       1,           16,               "2", 0,                   \
      "commit groups written at once; more suits SSDs that gain from depth")                                            \
    x("journal.queue_depth",   UINT,     journal_queue_depth,  64,          65536,            "1024", 0,                \
      "requests a reactor carries at once; more wait in their NVMe queues. Costs memory")                               \
    x("journal.align",         SIZE,     journal_align,        512,         4096,             "4096", 0,                \
      "where groups may begin, and bytes of a segment's header, chosen when the pool is formatted: "                    \
      "512 or 4096, not below the device's block")                                                                      \
    x("limits.volumes",        UINT,     limits_volumes,       1,           VOLUMES_MAX,      "16384", KEY_RELOAD,      \
      "volumes that may be made")                                                                                       \
    x("limits.connections",    UINT,     limits_connections,   2,           CONNECTIONS_MAX,  "10000", 0,               \
      "NVMe/TCP connections at once; a host takes one for itself and one for each queue")                               \
    x("limits.queue_depth",    UINT,     limits_queue_depth,   32,          QUEUE_DEPTH_MAX,  "128", 0,                 \
      "commands outstanding on one I/O queue")                                                                          \
    x("log.level",             LEVEL,    log_level,            1,           5,                "info", KEY_RELOAD,       \
      "debug, info, warn or error")

#endif
