/* bulkhead-worker: the process that talks to clients.
 * Holds client sockets, what is being read from and written to them, and nothing else. May touch
 * its listening sockets and its channels to the master, the router and authd. Never has the file
 * system, sockets of its own making, password hashes or keys, another worker's clients, or a say in
 * who a client is. Everything that clients send is parsed here, so this is the process to lose. */
#include "worker/worker.h"

#include "common/verify.h"
#include "worker/siblings.h"
#include "worker/websocket.h"

#include <stdlib.h>

int main(void)
{
    static const struct sandbox_options needs = {.filter = &sandbox_filter};
    struct worker *worker = calloc(1, sizeof(*worker));

    VERIFY(worker != NULL);
    worker_init(worker);
    child_begin(&worker->child, ROLE_WORKER, &worker_handlers, worker);
    router_report_counters(worker);
    websocket_init(worker); /* loads the library's event plugin, so before the sandbox */
    child_confine(&worker->child, &needs);
    child_ready(&worker->child, worker->child.confined.text);
    worker_update_accepting(worker);
    child_run(&worker->child);
    return EXIT_SUCCESS;
}
