/* SPDX-License-Identifier: Apache-2.0 */
/* node_ports.c: every reactor listens on both ports (SO_REUSEPORT shares out the connections); with port 0 the first
 * listener's choice is everybody's. SO_REUSEPORT would share with another server as well: a port is probed without it first.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/node_priv.h"
#include "rt/net.h"

struct listen_call {
    struct call  call;
    struct port *p;
    char         host[64];
    uint16_t     port;
    char         why[256];
};

static void listen_free(struct call *c)
{
    free(container_of(c, struct listen_call, call));
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    struct port *p = ctx;

    target_accept(p->n->target, p->env_index, conn, p->discovery_only);
}

static void listen_run(struct call *c)
{
    struct listen_call *lc = container_of(c, struct listen_call, call);
    struct env *env = lc->p->n->envs[lc->p->env_index];
    int err = net_listen(env, lc->host, lc->port, on_accept, lc->p, &lc->p->l, lc->why);

    if (!err)
        lc->port = net_listener_port(lc->p->l);
    call_done(c, err);
}

static void unlisten_run(struct call *c)
{
    struct listen_call *lc = container_of(c, struct listen_call, call);

    net_listener_close(lc->p->l);
    lc->p->l = NULL;
    call_done(c, 0);
}

static int open_one(struct node *n, uint32_t env_index, unsigned which, char why[static 256])
{
    struct listen_call *lc = calloc(1, sizeof(*lc));
    int err;

    if (!lc)
        return -FIRN_E_NO_RESOURCES;
    lc->p = &n->ports[which][env_index];
    *lc->p = (struct port){.n = n, .env_index = env_index, .discovery_only = which == 1};
    snprintf(lc->host, sizeof(lc->host), "%.60s", config_text(&n->cfg, export_listen));
    lc->port = n->port_nr[which];
    call_init(&lc->call, listen_run, listen_free);
    err = call_wait(n->envs[env_index], &lc->call, NODE_CALL_NS);
    if (err)
        snprintf(why, 256, "%s", err == -ETIMEDOUT ? "a reactor does not answer" : lc->why);
    else
        n->port_nr[which] = lc->port;
    call_put(&lc->call);
    return err;
}

/* A free port: discovery must announce the I/O port, so it is known before the target is made. */
static uint16_t free_port(const char *host)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    struct sockaddr_in a4 = {.sin_family = AF_INET};
    bool v6 = inet_pton(AF_INET6, host, &a6.sin6_addr) == 1;
    struct sockaddr *sa = v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
    socklen_t len = v6 ? sizeof(a6) : sizeof(a4);
    uint16_t port = 0;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!v6 && inet_pton(AF_INET, host, &a4.sin_addr) != 1)
        a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, sa, len) == 0 && getsockname(fd, sa, &len) == 0)
        port = ntohs(v6 ? a6.sin6_port : a4.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

void ports_choose(struct node *n)
{
    n->port_nr[0] = (uint16_t)config_num(&n->cfg, export_port);
    n->port_nr[1] = (uint16_t)config_num(&n->cfg, export_discovery_port);
    if (n->port_nr[0] == 0)
        n->port_nr[0] = free_port(config_text(&n->cfg, export_listen));
}

/* Nobody else's, or words that say what to do. */
static int ports_probe(const struct node *n, char why[static 256])
{
    static const char *const option[2] = {"--port or export.port", "--discovery-port or export.discovery_port"};

    for (unsigned which = 0; which < 2; which++) {
        char cause[256];
        int err = n->port_nr[which] ? net_port_free(config_text(&n->cfg, export_listen), n->port_nr[which], cause) : 0;

        if (err == -EADDRINUSE)
            snprintf(why, 256, "%.120s; stop the other server, or choose another port (%s)", cause, option[which]);
        else if (err)
            snprintf(why, 256, "%s", cause);
        if (err)
            return err;
    }
    return 0;
}

int ports_open(struct node *n, char why[static 256])
{
    int probed = ports_probe(n, why);

    if (probed)
        return probed;
    for (unsigned which = 0; which < 2; which++)
        for (uint32_t i = 0; i < n->nr_reactors; i++) {
            int err = open_one(n, i, which, why);

            if (err)
                return err;
        }
    return 0;
}

void ports_close(struct node *n, uint64_t timeout_ns)
{
    for (unsigned which = 0; which < 2; which++)
        for (uint32_t i = 0; i < n->nr_reactors; i++) {
            struct listen_call *lc;

            if (!n->ports[which][i].l)
                continue;
            lc = calloc(1, sizeof(*lc));
            if (!lc)
                continue; /* the process ends soon, and the listener with it */
            lc->p = &n->ports[which][i];
            call_init(&lc->call, unlisten_run, listen_free);
            if (call_wait(n->envs[i], &lc->call, timeout_ns) != 0)
                log_warn("a reactor does not close its listener", "reactor=%u", i);
            call_put(&lc->call);
        }
}
