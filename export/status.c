/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: the one place where Firn's errors become NVMe status.
 *
 * Do Not Retry is set where the same command would fail the same way for ever. Where it is clear Linux hosts retry, or
 * wait for another path: so it is clear for everything that a restart, an operator or time will mend.
 */
#include "export/priv.h"

static uint16_t status_of_firn(enum firn_err err)
{
    switch (err) {
    case FIRN_E_DAMAGED:        return ST_UNRECOVERED_READ | STATUS_DNR;
    case FIRN_E_NO_SPACE:       return ST_CAPACITY_EXCEEDED | STATUS_DNR;
    case FIRN_E_NO_RESOURCES:   return ST_COMMAND_INTERRUPTED;
    case FIRN_E_DEVICE_FAILED:  return ST_INTERNAL;
    case FIRN_E_STOPPED:        return ST_INTERNAL_PATH;
    case FIRN_E_NOT_FOUND:      return ST_INVALID_NAMESPACE | STATUS_DNR;
    case FIRN_E_EXISTS:         return ST_INTERNAL;
    case FIRN_E_INVALID:        return ST_INVALID_FIELD | STATUS_DNR;
    case FIRN_E_IN_USE:         return ST_NS_NOT_READY;
    case FIRN_E_NOT_ALLOWED:    return ST_INVALID_FIELD | STATUS_DNR;
    case FIRN_E_RANGE:          return ST_LBA_RANGE | STATUS_DNR;
    case FIRN_E_READ_ONLY:      return ST_NS_WRITE_PROTECTED | STATUS_DNR;
    case FIRN_E_NOT_FIRN:       return ST_INTERNAL;
    case FIRN_E_FOREIGN:        return ST_INTERNAL;
    case FIRN_E_MISSING:        return ST_INTERNAL;
    case FIRN_E_FORMAT_VERSION: return ST_INTERNAL;
    case FIRN_E_CORRUPT:        return ST_INTERNAL;
    case FIRN_E_ROLLED_BACK:    return ST_INTERNAL;
    case FIRN_E_BUSY:           return ST_NS_NOT_READY;
    case FIRN_E_META:           return ST_INTERNAL;
    case FIRN_E_CANCELED:       return ST_ABORT_REQUESTED;
    case FIRN_E_BASE:
    case FIRN_E_END:
        break;
    }
    return ST_INTERNAL;
}

uint16_t status_of_err(int err)
{
    if (err == 0)
        return ST_SUCCESS;
    if (err < -(int)FIRN_E_BASE && err > -(int)FIRN_E_END)
        return status_of_firn((enum firn_err)-err);
    return ST_INTERNAL; /* an errno: the system said no, the host may try again */
}
