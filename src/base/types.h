/* SPDX-License-Identifier: Apache-2.0 */
/* types.h: what every file may rely on: fixed-width little-endian members for bytes on media and wire,
 * the block, and a few macros. Nothing here allocates or fails.
 */
#ifndef FIRN_BASE_TYPES_H
#define FIRN_BASE_TYPES_H

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#ifdef NDEBUG
#error "assertions guard data and stay on in release builds: do not define NDEBUG"
#endif

#define BLOCK_BYTES 4096u /* bytes; unit of the index, of checksums and of the log's payload */
#define BLOCK_SHIFT 12

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))
#define ROUND_UP(x, to)   ((((x) + (to) - 1) / (to)) * (to))
#define ROUND_DOWN(x, to) (((x) / (to)) * (to))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* A figure that one thread changes and any may read meanwhile. */
#define figure_add(p, n) __atomic_store_n((p), (__typeof__(*(p)))(*(p) + (n)), __ATOMIC_RELAXED)
#define figure_sub(p, n) __atomic_store_n((p), (__typeof__(*(p)))(*(p) - (n)), __ATOMIC_RELAXED)
#define figure_set(p, n) __atomic_store_n((p), (n), __ATOMIC_RELAXED)
#define figure_get(p)    __atomic_load_n((p), __ATOMIC_RELAXED)

/* Little-endian members of structures on media and wire. Only format and codec files read them, through these. */
typedef struct { uint16_t raw; } __attribute__((packed)) le16;
typedef struct { uint32_t raw; } __attribute__((packed)) le32;
typedef struct { uint64_t raw; } __attribute__((packed)) le64;

static inline le16 to_le16(uint16_t v) { return (le16){htole16(v)}; }
static inline le32 to_le32(uint32_t v) { return (le32){htole32(v)}; }
static inline le64 to_le64(uint64_t v) { return (le64){htole64(v)}; }
static inline uint16_t from_le16(le16 v) { return le16toh(v.raw); }
static inline uint32_t from_le32(le32 v) { return le32toh(v.raw); }
static inline uint64_t from_le64(le64 v) { return le64toh(v.raw); }

struct uuid { uint8_t b[16]; };

#endif
