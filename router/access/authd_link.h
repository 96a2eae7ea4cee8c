/* The channel to authd: verdicts come, nothing goes. */
#ifndef BULKHEAD_ROUTER_ACCESS_AUTHD_LINK_H
#define BULKHEAD_ROUTER_ACCESS_AUTHD_LINK_H

struct router;

/* A channel to a new authd. */
void authd_link_open(struct router *r, int fd);

#endif
