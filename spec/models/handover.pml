/* SPDX-License-Identifier: MIT
 *
 * The two-phase hand-over of the native wire (03.1-session.md, HND) in a world that cuts, doubles,
 * crashes and fails to write; a crash keeps the journal and nothing else. Written from the tables
 * of that chapter, not from codec/native/handover.c. Run by spec/models/check.
 *
 *   HND-2   the guest never runs at both ends, nor anywhere in a state that has moved on
 *   HND-1   nothing gets stuck: when nothing more goes wrong one end runs the guest, or an end
 *           whose journal is lost waits for a person
 *
 * BUDGET: how often something goes wrong. Mistakes to be caught, each by its name:
 *   PLANT_RESUME_AFTER_COMMIT  a source that takes a cut behind COMMIT for a failure
 *   PLANT_NO_GENERATION        a source that takes READY of an older generation
 *   PLANT_COMMIT_BEFORE_JOURNAL  COMMIT leaves before COMMITTED is durable
 *   PLANT_FORGETFUL            a destination that starts anew after a crash as if nothing was said
 *   PLANT_LATE_REFUSAL         a destination that says NOT_STARTED of a guest that has run
 */
#ifndef BUDGET
#define BUDGET 3
#endif
#define GENERATIONS 2

mtype = { START, READY, COMMIT, RUNNING, NOT_STARTED };
mtype = { NONE, COMMITTED, RELEASED, GONE, OPEN, STARTED, REFUSED, LOST }; /* journals */
mtype = { s_ours, s_asked, s_writing, s_committed, s_doubt, s_releasing, s_cancelling, s_leaving,
          s_gone, s_unknown };
mtype = { d_loading, d_asked, d_opening, d_ready, d_waiting, d_starting, d_started, d_running,
          d_refusing, d_refused, d_unknown };

chan fwd = [8] of { mtype, byte };
chan back = [8] of { mtype, byte };
bool up = true;
byte budget = BUDGET;

mtype src = s_ours, src_journal = NONE;
mtype dst = d_loading, dst_journal = NONE;
byte src_gen = 0, dst_gen = 0, src_journal_gen = 0, dst_journal_gen = 0;
bool memory = true;  /* the source has the guest: a crash loses it */
byte loaded = 0;     /* generation whose state the destination holds */
byte moved_on = 0;   /* generation after whose START the source ran the guest again */
bool started = false; /* the destination has run it */

#define src_runs (memory && (src == s_ours || src == s_asked))
#define dst_runs (dst == d_started || dst == d_running)
#define safe     (!(src_runs && dst_runs) && !(src_runs && started))

inline check() { assert(safe) }

inline say_fwd(what) { if :: up && len(fwd) < 8 -> fwd!what(src_gen) :: else -> skip fi }
inline say_back(what) { if :: up && len(back) < 8 -> back!what(dst_gen) :: else -> skip fi }

inline drain() {
    do :: len(fwd) > 0 -> fwd?_,_ :: len(back) > 0 -> back?_,_ :: else -> break od
}

/* What either end does when the connection is gone. */
inline cut() {
    up = false;
    drain();
    if
    :: src == s_asked -> src = s_ours; moved_on = src_gen
#ifdef PLANT_RESUME_AFTER_COMMIT
    :: src == s_committed -> src = s_ours; moved_on = src_gen
#else
    :: src == s_committed -> src = s_doubt
#endif
    :: else -> skip
    fi;
    if
    :: dst == d_asked -> dst = d_loading
    :: dst == d_ready -> dst = d_waiting
    :: else -> skip
    fi
}

/* A frame that the state does not allow ends the session (HND-1). */
inline refuse() { cut() }

inline src_record(j) { src_journal = j; src_journal_gen = src_gen }
inline dst_record(j) { dst_journal = j; dst_journal_gen = dst_gen }

proctype Source() {
    mtype m;
    byte g;
end:
    do
    :: atomic { src == s_ours && memory && up && src_gen < GENERATIONS ->
           src_gen++; src = s_asked; say_fwd(START); check() }
    :: atomic { src == s_asked -> /* READY does not come in time, or the user cancels */
           src = s_ours; moved_on = src_gen; check() }

    :: atomic { back?m,g ->
           if
           :: m == READY ->
#ifndef PLANT_NO_GENERATION
              if
              :: g < src_gen -> skip /* HND-3: late */
              :: else ->
#endif
                 if
                 :: src == s_asked -> src = s_writing;
#ifdef PLANT_COMMIT_BEFORE_JOURNAL
                    say_fwd(COMMIT)
#endif
                 :: src == s_unknown -> refuse()
                 :: else -> skip
                 fi
#ifndef PLANT_NO_GENERATION
              fi
#endif
           :: m == RUNNING ->
              if
              :: src == s_committed || src == s_doubt || src == s_unknown -> src = s_leaving
              :: src == s_leaving || src == s_gone -> skip
              :: else -> refuse()
              fi
           :: m == NOT_STARTED ->
              if
              :: src == s_committed || src == s_doubt || src == s_unknown || src == s_cancelling ->
                 src = s_releasing
              :: src == s_asked -> src = s_ours; moved_on = src_gen
              :: src == s_ours || src == s_releasing -> skip
              :: else -> refuse()
              fi
           :: else -> refuse()
           fi;
           check() }

    /* journals: durable, or failed either way (HND-4) */
    :: atomic { src == s_writing -> src_record(COMMITTED); src = s_committed;
           if :: up -> say_fwd(COMMIT) :: else -> src = s_doubt fi; check() }
    :: atomic { src == s_writing && budget > 0 -> budget--;
           if :: true -> src_record(COMMITTED) :: true -> skip fi; src = s_cancelling; check() }
    :: atomic { src == s_releasing ->
           if :: true -> src_record(RELEASED) :: budget > 0 -> budget-- fi;
           src = s_ours; moved_on = src_gen; check() }
    :: atomic { src == s_cancelling -> src_record(RELEASED); src = s_ours; moved_on = src_gen;
           check() }
    :: atomic { src == s_leaving ->
           if :: true -> src_record(GONE) :: budget > 0 -> budget-- fi;
           src = s_gone; memory = false; check() }

    :: src == s_gone && dst == d_running -> break
    od
}

proctype Destination() {
    mtype n;
    byte h;
end:
    do
    :: atomic { fwd?n,h ->
           if
           :: n == START ->
              if
              :: dst == d_refusing -> skip
              :: dst == d_refused -> say_back(NOT_STARTED)
              :: h <= dst_gen || dst == d_starting || dst == d_started || dst == d_running ||
                 dst == d_unknown ->
                 refuse()
              :: else -> dst_gen = h; dst = d_asked
              fi
           :: n == COMMIT ->
              if
              :: dst == d_refusing -> skip
              :: dst == d_refused -> say_back(NOT_STARTED)
              :: dst == d_unknown -> skip
              :: h != dst_gen -> refuse()
              :: dst == d_ready || dst == d_waiting -> dst = d_starting
              :: dst == d_starting || dst == d_started -> skip
              :: dst == d_running -> say_back(RUNNING)
              :: else -> refuse()
              fi
           :: else -> refuse()
           fi;
           check() }
    :: atomic { dst == d_asked -> loaded = dst_gen; dst = d_opening }
    :: atomic { dst == d_opening -> dst_record(OPEN); dst = d_ready;
           if :: up -> say_back(READY) :: else -> dst = d_waiting fi }
    :: atomic { dst == d_opening && budget > 0 -> budget--; dst = d_refusing }
    :: atomic { dst == d_starting -> dst_record(STARTED); dst = d_started;
           assert(loaded == dst_gen && moved_on != dst_gen); /* not a state that has moved on */
           check() }
    :: atomic { dst == d_started -> dst = d_running; started = true; say_back(RUNNING); check() }
    :: atomic { dst == d_started && budget > 0 -> budget--; dst = d_refusing } /* HND-17 */
#ifdef PLANT_LATE_REFUSAL
    :: atomic { dst == d_running && budget > 0 -> budget--; dst = d_refusing }
#endif
    :: atomic { dst == d_starting && budget > 0 -> budget--; /* HND-5: it may be durable or not */
           if :: true -> dst_record(STARTED) :: true -> skip fi; dst = d_refusing }
    :: atomic { dst == d_refusing -> dst_record(REFUSED); dst = d_refused; say_back(NOT_STARTED) }
    :: atomic { dst == d_refusing && budget > 0 -> budget--; dst = d_unknown }
    :: atomic { (dst == d_loading || dst == d_ready || dst == d_waiting) && budget > 0 ->
           budget--; dst = d_refusing } /* it cannot take the guest, or gives up */
    :: src == s_gone && dst == d_running -> break
    od
}

inline reconnect() {
    up = true;
    if
    :: src == s_committed || src == s_doubt -> src = s_committed; say_fwd(COMMIT)
    :: else -> skip
    fi;
    if
    :: dst == d_waiting || dst == d_ready -> dst = d_ready; say_back(READY)
    :: dst == d_running -> say_back(RUNNING)
    :: dst == d_refused -> say_back(NOT_STARTED)
    :: else -> skip
    fi
}

/* A program is killed and started again: the journal is what it knows (HND-10, HND-11). */
inline crash_source() {
    cut();
    memory = false;
    src_gen = src_journal_gen;
    if
    :: src_journal == NONE || src_journal == RELEASED -> src = s_ours
    :: src_journal == COMMITTED -> src = s_doubt
    :: src_journal == GONE -> src = s_gone
    fi;
    if :: true -> src = s_unknown :: true -> skip fi /* the journal itself was lost */
}
inline crash_destination() {
    if :: dst == d_started -> started = true :: else -> skip fi; /* who knows */
    cut();
    loaded = 0;
    dst_gen = dst_journal_gen;
    if
#ifdef PLANT_FORGETFUL
    :: dst_journal == NONE || dst_journal == OPEN || dst_journal == STARTED -> dst = d_refusing
#else
    :: dst_journal == NONE || dst_journal == OPEN -> dst = d_refusing
    :: dst_journal == STARTED -> dst = d_running
#endif
    :: dst_journal == REFUSED -> dst = d_refused
    fi;
    if :: true -> dst = d_unknown :: true -> skip fi
}

proctype World() {
    mtype k;
    byte i;
end:
    do
    :: atomic { up && budget > 0 -> budget--; cut(); check() }
    :: atomic { !up && src != s_asked -> reconnect(); check() }
    :: atomic { up && budget > 0 && len(fwd) > 0 && len(fwd) < 3 -> budget--;
           fwd?<k,i>; fwd!k(i) } /* doubled */
    :: atomic { up && budget > 0 && len(back) > 0 && len(back) < 3 -> budget--; back?<k,i>; back!k(i) }
    :: atomic { budget > 0 -> budget--; crash_source(); check() }
    :: atomic { budget > 0 -> budget--; crash_destination(); check() }
    :: src == s_gone && dst == d_running -> break
    :: timeout -> /* nothing moves any more: HND-1 */
       assert(src_runs || dst_runs || !memory || src == s_unknown || src == s_cancelling ||
              dst == d_unknown);
       break
    od
}

init { atomic { run Source(); run Destination(); run World() } }
