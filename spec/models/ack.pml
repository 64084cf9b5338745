/* SPDX-License-Identifier: MIT
 *
 * Switchover acknowledgement: QEMU's two mechanisms and the native one (02.6-return-path.md, ACK;
 * 03.1-session.md, SES-26, SES-27), with devices whose initial data begins anew (REINIT). Run by
 * spec/models/check.
 *
 *   SRC, DST    LEGACY, NEW or NATIVE: the mechanism at each end; QEVM's does not travel
 *   STRICT      1: our endpoints (a surplus ACK fails by name; a source whose destination may have
 *               started does not resume). 0: what stock QEMU 11.1 was seen to do
 *   DEVICES, REINITS   how many, and how often each may begin anew
 *   BOUNDED     1: a source that waits gives up after a while (ours)
 * Checked: no switchover while a device that should be waited for has not got its initial data
 * there (ACK-5); no end that waits for ever; never two running guests.
 * Mistakes to be caught: PLANT_NO_DEVICE_GENERATION a grant of any generation counts;
 * PLANT_NO_LAST_LOOK a request that comes when the guest was stopped is passed over.
 */
#define LEGACY 0
#define NEW    1
#define NATIVE 2
#ifndef SRC
#define SRC NEW
#endif
#ifndef DST
#define DST SRC
#endif
#ifndef STRICT
#define STRICT 1
#endif
#ifndef DEVICES
#define DEVICES 2
#endif
#ifndef REINITS
#define REINITS 1
#endif
#ifndef BOUNDED
#define BOUNDED 1
#endif

mtype = { INIT_DATA_SENT, REQUEST, DATA_END, ACK, SHUT_GOOD, SHUT_BAD };
chan fwd = [6] of { mtype, byte, byte };  /* device, generation */
chan back = [6] of { mtype, byte, byte };

mtype = { running, stopped, finished, failed, doubt };
mtype src = running, dst = running; /* dst: running = loading, finished = its guest runs */
bool src_guest = true, dst_guest = false;

byte asked[DEVICES];      /* the last one that was requested */
byte sent[DEVICES];
byte granted[DEVICES];
byte loaded[DEVICES]; /* of the destination */
byte reinits[DEVICES];
int acks = 0, requests = 0;
byte first_done = 0; /* destination, legacy: devices that are through */

#define one_guest (!(src_guest && dst_guest))
#if DEVICES > 1
#define all_sent (sent[0] >= asked[0] && sent[1] >= asked[1])
#else
#define all_sent (sent[0] >= asked[0])
#endif

/* What the source waits for (ACK-5, SES-27). */
#if SRC == NATIVE
#if DEVICES > 1
#define all_granted (granted[0] >= asked[0] && granted[1] >= asked[1])
#else
#define all_granted (granted[0] >= asked[0])
#endif
#elif SRC == LEGACY
#define all_granted (acks >= 1)
#else
#define all_granted (acks == requests)
#endif

/* ACK-5, SES-27: what the mechanism waits for is really there. Legacy looks at the first only. */
inline check_loaded() {
    i = 0;
    do
    :: i < DEVICES ->
       assert(SRC == LEGACY || SRC != DST || loaded[i] >= asked[i]);
       assert(SRC != LEGACY || SRC != DST || loaded[i] >= 1);
       i++
    :: else -> break
    od
}

inline fail_source() {
    src = failed;
    src_guest = true;
    assert(one_guest)
}

proctype Source() {
    byte d = 0, i, dev, gen;
    mtype m;
    /* the first look at every device */
    do
    :: d < DEVICES -> atomic { asked[d] = 1; requests++; d++ }
    :: else -> break
    od;
    d = 0;
    do
    /* initial data is out */
    :: atomic { src == running && sent[0] < asked[0] && len(fwd) < 6 ->
           sent[0] = asked[0]; fwd!INIT_DATA_SENT(0, asked[0]) }
#if DEVICES > 1
    :: atomic { src == running && sent[1] < asked[1] && len(fwd) < 6 ->
           sent[1] = asked[1]; fwd!INIT_DATA_SENT(1, asked[1]) }
#endif
    /* REINIT: a new request. Legacy does not see it. */
    :: atomic { src == running && reinits[0] < REINITS && sent[0] >= 1 ->
           reinits[0]++;
           if
           :: SRC != LEGACY && sent[0] == asked[0] -> asked[0]++; requests++ /* ACK-4 */
           :: else -> skip
           fi }
#if DEVICES > 1
    :: atomic { src == running && reinits[1] < REINITS && sent[1] >= 1 ->
           reinits[1]++;
           if
           :: SRC != LEGACY && sent[1] == asked[1] -> asked[1]++; requests++ /* ACK-4 */
           :: else -> skip
           fi }
#endif
    /* what comes back */
    :: atomic { back?m,dev,gen ->
           if
           :: m == ACK && (src == running || src == stopped) ->
              acks++;
              if
              :: SRC == NATIVE ->
#ifdef PLANT_NO_DEVICE_GENERATION
                 granted[dev] = asked[dev]
#else
                 if :: gen > granted[dev] -> granted[dev] = gen :: else -> skip fi
#endif
              :: SRC == LEGACY && acks > 1 -> /* its counter underflows: E-47 */
                 if
                 :: STRICT && src == stopped -> src = doubt /* it may have started: no resume */
                 :: else -> fail_source()
                 fi
              :: SRC == NEW && acks > requests -> fail_source()
              :: else -> skip
              fi
           :: m == SHUT_GOOD && src == stopped -> src = finished
           :: m == SHUT_GOOD && src == doubt -> src = finished
           :: m == SHUT_BAD -> if :: src != finished -> fail_source() :: else -> skip fi
           :: else -> skip
           fi }
    /* switchover; the last look at the devices may find a new request (ACK-7) */
    :: atomic { src == running && all_sent && all_granted && len(fwd) < 6 ->
           src_guest = false;
           if
           :: SRC != LEGACY && reinits[0] < REINITS -> reinits[0]++; asked[0]++;
#ifdef PLANT_NO_LAST_LOOK
              check_loaded(); src = stopped; fwd!DATA_END(0, 0)
#else
              fail_source(); fwd!SHUT_BAD(0, 0) /* the connection ends, the destination exits */
#endif
           :: true -> check_loaded(); src = stopped; fwd!DATA_END(0, 0)
           fi }
    :: atomic { BOUNDED && src == running && timeout -> /* named, and the guest runs on: ACK-11 */
           src = failed }
    :: atomic { src == finished || src == failed -> break }
    :: atomic { src == doubt && timeout -> break } /* told to the operator */
    od
}

proctype Destination() {
    byte dev, gen;
    mtype m;
    byte users = DEVICES;
    do
    :: atomic { fwd?m,dev,gen ->
           if
           :: m == INIT_DATA_SENT ->
              if
              :: DST == LEGACY && loaded[dev] > 0 -> dst = failed; back!SHUT_BAD(0, 0)
              :: else ->
                 if :: loaded[dev] == 0 -> first_done++ :: else -> skip fi;
                 loaded[dev] = gen;
                 if
                 :: DST == LEGACY -> if :: first_done == users -> back!ACK(0, 0) :: else -> skip fi
                 :: else -> back!ACK(dev, gen)
                 fi
              fi
           :: m == DATA_END ->
              dst_guest = true;
              assert(one_guest);
              dst = finished;
              back!SHUT_GOOD(0, 0)
           :: m == SHUT_BAD -> dst = failed
           :: else -> skip
           fi }
    :: atomic { dst == finished || dst == failed -> break }
    :: atomic { dst == running && src == failed && empty(fwd) -> dst = failed; break }
    od
}

init { atomic { run Source(); run Destination() } }
