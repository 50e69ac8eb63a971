/* What Python and the C program must both know. `python -m tools.pages` writes this file. */

/* What to do with a signal that comes in; see pyinit/base. */
enum { SIGNAL = 127, STOPS = 128, IF_SENT = 256, OR_TERM = 512, GROUP = 1024 };
/* Bits of the flags in struct orders. */
enum { PAUSES = 1, BOUNDED = 2, LEADS = 4 };
/* Sizes in struct orders. */
enum { SIGNALS = 65, MOST_PATHS = 1024 };
/* pyinit's own exit status if it fails. */
enum { OWN_ERROR = 125 };
/* The exit status of an adviser that fails. */
enum { HAS_SAID_WHY = 124 };
/* The orders for a command without options: the grace in tenths of a second, and what is done with a signal,
   if it is something else than to deliver it. */
enum { GRACE = 50 };
#define ORDERS [SIGINT] = SIGINT | STOPS | GROUP, [SIGQUIT] = SIGQUIT | STOPS | OR_TERM, \
    [SIGTERM] = SIGTERM | STOPS | OR_TERM, [SIGCHLD] = SIGCHLD | IF_SENT
/* The word for Python, and the flags of the interpreter, which isolate it; see pyinit/native. */
#define WORD "--told="
#define FLAGS "-ISXutf8"
/* The variables that hold options or name their reader. */
#define VARIABLES "PYINIT_OPTIONS=", "TINI_VERBOSITY=", "TINI_KILL_PROCESS_GROUP=", "DUMB_INIT_DEBUG=", \
    "DUMB_INIT_SETSID=", "LISTEN_PID=", "WATCHDOG_PID="
