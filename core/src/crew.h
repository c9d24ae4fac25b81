/* The crew: C threads that take events of one loop and run the user's callbacks.
 *
 * One thread leads: it waits in wsc_loop_next, takes an event, runs its callback and comes back, so that a quick callback costs no wake-up of
 * anybody. When it stays away while work waits, the standby asks for another leader (crew_wanted): a spare thread or a new one, up to
 * crew_max_threads; at that number callbacks wait for a free thread, while the standby keeps pings answered. A batch that
 * several readers may share wakes one more thread, which may wake one more. Spare threads go after ten idle seconds; one stays. */
#ifndef WSC_CREW_H
#define WSC_CREW_H

#include "loop.h"

struct crew;
int crew_new(wsc_loop *l, unsigned max_threads, struct crew **out, wsc_error **err);
void crew_wanted(struct crew *c);
/* No more events. Called once, when the last user of the loop has gone: outside the crew it waits for its threads, then frees it with the
 * loop (loop_destroy); inside, the last thread does. */
void crew_retire(struct crew *c);

#endif
