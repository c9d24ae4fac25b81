/* One thread a process that answers pings and keeps timers while every lent thread is away in the host's code.
 *
 * It watches each loop's fd (one shot). When something is ready it looks again a little later; if no thread came or went meanwhile and none is
 * there, it asks the loop's crew for a thread, or runs the protocol itself. It never calls the host. */
#ifndef WSC_STANDBY_H
#define WSC_STANDBY_H

#include "wscengine/loop.h"

int standby_add(wsc_loop *l); /* 0 or -errno: no thread or no fd could be had */
void standby_remove(wsc_loop *l);

#endif
